//! Boxed closures that are called by value.

use core::mem::ManuallyDrop;
use core::ptr;

use super::PoolBox;

#[diagnostic::on_unimplemented(
    message = "`PoolBox::call_once` cannot call a `{Self}`",
    label = "not a function of these arguments",
    note = "a `dyn FnOnce(A, B) -> R` in a pool cannot be called: coerce the closure to `dyn CallOnce<(A, B), Output = R>`",
    note = "the arguments are a tuple of up to six: `()`, `(a,)`, `(a, b)`"
)]
/// A function that can be called once, by value, through a box. On stable Rust, only `Box<dyn FnOnce(A, B) -> R>` can
/// do that otherwise.
///
/// Every `FnOnce` with up to six arguments implements `CallOnce` for the tuple of its arguments. So a boxed closure is
/// coerced to `dyn CallOnce<(A, B), Output = R>` instead of `dyn FnOnce(A, B) -> R`. [`PoolFnOnce`] is a shorter name
/// for such a box.
///
/// # Examples
///
/// ```
/// use segment_pool::{CallOnce, PoolBox, coerce};
///
/// let name = String::from("Ada");
/// let greet = PoolBox::new(move |hello: &str| hello.to_owned() + &name);
/// let greet = coerce!(greet => dyn CallOnce<(&str,), Output = String>);
/// assert_eq!(PoolBox::call_once(greet, ("Hello, ",)), "Hello, Ada");
/// ```
///
/// # Safety
///
/// All functions already implement this trait. An implementation for another type must satisfy the requirements of
/// `call_unboxed`.
pub unsafe trait CallOnce<Args> {
    /// The return type of the function.
    type Output;

    /// Moves the function out of its place and calls it. [`PoolBox::call_once`] is the safe form.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::mem::ManuallyDrop;
    /// use segment_pool::CallOnce;
    ///
    /// let word = String::from("pool");
    /// let mut append = ManuallyDrop::new(move |end: &str| word + end);
    /// // SAFETY: it is neither used nor dropped after this.
    /// assert_eq!(unsafe { append.call_unboxed(("ed",)) }, "pooled");
    /// ```
    ///
    /// # Safety
    ///
    /// The caller neither uses nor drops the function afterwards, whether this returns or panics.
    unsafe fn call_unboxed(&mut self, args: Args) -> Self::Output;
}

/// A boxed function that is called once and can be sent to another thread.
///
/// # Examples
///
/// ```
/// use segment_pool::{CallOnce, PoolBox, PoolFnOnce, coerce};
///
/// let mut jobs: Vec<PoolFnOnce<(), usize>> = Vec::new();
/// for word in ["a", "list", "of jobs"] {
///     let word = word.to_owned();
///     jobs.push(coerce!(PoolBox::new(move || word.len()) => dyn CallOnce<(), Output = usize> + Send));
/// }
/// let worker = std::thread::spawn(|| {
///     jobs.into_iter().map(|job| PoolBox::call_once(job, ())).sum::<usize>()
/// });
/// assert_eq!(worker.join().unwrap(), 12);
/// ```
pub type PoolFnOnce<Args, Output = ()> = PoolBox<dyn CallOnce<Args, Output = Output> + Send>;

impl<T: ?Sized> PoolBox<T> {
    /// Calls the function in the box, with a tuple of its arguments, and frees the slot.
    ///
    /// # Panics
    ///
    /// Panics if the function panics. The slot is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let word = String::from("pool");
    /// let append = PoolBox::new(|end: &str| word + end); // a `FnOnce`: it moves `word` out
    /// assert_eq!(PoolBox::call_once(append, ("ed",)), "pooled");
    /// ```
    pub fn call_once<Args>(this: Self, args: Args) -> T::Output
    where
        T: CallOnce<Args>,
    {
        let function = PoolBox::into_raw(this) as *mut ManuallyDrop<T>;
        // SAFETY: the pointer is that of a box of the same layout. This box frees the memory but does not drop the
        // function.
        let mut function = unsafe { PoolBox::from_raw(function) };
        // SAFETY: the function is neither used nor dropped afterwards.
        unsafe { function.call_unboxed(args) }
    }
}

macro_rules! call_once {
    ($($Arg:ident $arg:ident),*) => {
        // SAFETY: the method moves the function out and calls it, as the trait requires.
        unsafe impl<F: FnOnce($($Arg),*) -> R, R, $($Arg),*> CallOnce<($($Arg,)*)> for F {
            type Output = R;

            unsafe fn call_unboxed(&mut self, args: ($($Arg,)*)) -> R {
                // SAFETY: the function is valid and is read once: the caller neither uses nor drops it afterwards.
                let function = unsafe { ptr::read(self) };
                let ($($arg,)*) = args;
                function($($arg),*)
            }
        }
    };
}
call_once!();
call_once!(A a);
call_once!(A a, B b);
call_once!(A a, B b, C c);
call_once!(A a, B b, C c, D d);
call_once!(A a, B b, C c, D d, E e);
call_once!(A a, B b, C c, D d, E e, G g);
