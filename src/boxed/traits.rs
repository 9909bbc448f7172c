//! Traits that a box implements by forwarding to its value with `&mut`. (`crate::forward` has those that need only `&`,
//! which `PoolArc` shares.)

use core::borrow::BorrowMut;
use core::fmt;
use core::future::Future;
use core::hash::Hasher;
use core::iter::FusedIterator;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};

use super::PoolBox;
use crate::boxed::forward::forward_to_value;

forward_to_value!(PoolBox);

impl<T: ?Sized> AsMut<T> for PoolBox<T> {
    fn as_mut(&mut self) -> &mut T {
        self
    }
}

impl<T: ?Sized> BorrowMut<T> for PoolBox<T> {
    fn borrow_mut(&mut self) -> &mut T {
        self
    }
}

impl<I: ?Sized + Iterator> Iterator for PoolBox<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        (**self).next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (**self).size_hint()
    }

    fn nth(&mut self, n: usize) -> Option<I::Item> {
        (**self).nth(n)
    }
}

impl<I: ?Sized + DoubleEndedIterator> DoubleEndedIterator for PoolBox<I> {
    fn next_back(&mut self) -> Option<I::Item> {
        (**self).next_back()
    }

    fn nth_back(&mut self, n: usize) -> Option<I::Item> {
        (**self).nth_back(n)
    }
}

impl<I: ?Sized + ExactSizeIterator> ExactSizeIterator for PoolBox<I> {
    fn len(&self) -> usize {
        (**self).len()
    }
}

impl<I: ?Sized + FusedIterator> FusedIterator for PoolBox<I> {}

impl<F: ?Sized + Future + Unpin> Future for PoolBox<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut **self).poll(context)
    }
}

/// Declares methods that call the methods of the value.
macro_rules! forward_methods {
    ($(fn $name:ident(&mut self $(, $arg:ident: $Arg:ty)*) $(-> $Ret:ty)?;)*) => {$(
        #[inline]
        fn $name(&mut self $(, $arg: $Arg)*) $(-> $Ret)? {
            (**self).$name($($arg),*)
        }
    )*};
}

impl<H: ?Sized + Hasher> Hasher for PoolBox<H> {
    fn finish(&self) -> u64 {
        (**self).finish()
    }

    forward_methods! {
        fn write(&mut self, bytes: &[u8]);
        fn write_u8(&mut self, i: u8);
        fn write_u16(&mut self, i: u16);
        fn write_u32(&mut self, i: u32);
        fn write_u64(&mut self, i: u64);
        fn write_u128(&mut self, i: u128);
        fn write_usize(&mut self, i: usize);
        fn write_i8(&mut self, i: i8);
        fn write_i16(&mut self, i: i16);
        fn write_i32(&mut self, i: i32);
        fn write_i64(&mut self, i: i64);
        fn write_i128(&mut self, i: i128);
        fn write_isize(&mut self, i: isize);
    }
}

impl<R: ?Sized + Read> Read for PoolBox<R> {
    forward_methods! {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
        fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
        fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize>;
        fn read_to_string(&mut self, buffer: &mut String) -> io::Result<usize>;
        fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()>;
    }
}

impl<W: ?Sized + Write> Write for PoolBox<W> {
    forward_methods! {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
        fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;
        fn flush(&mut self) -> io::Result<()>;
        fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
        fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()>;
    }
}

impl<S: ?Sized + Seek> Seek for PoolBox<S> {
    forward_methods! {
        fn seek(&mut self, position: SeekFrom) -> io::Result<u64>;
        fn rewind(&mut self) -> io::Result<()>;
        fn stream_position(&mut self) -> io::Result<u64>;
        fn seek_relative(&mut self, offset: i64) -> io::Result<()>;
    }
}

impl<B: ?Sized + BufRead> BufRead for PoolBox<B> {
    forward_methods! {
        fn fill_buf(&mut self) -> io::Result<&[u8]>;
        fn consume(&mut self, amount: usize);
        fn read_until(&mut self, byte: u8, buffer: &mut Vec<u8>) -> io::Result<usize>;
        fn skip_until(&mut self, byte: u8) -> io::Result<usize>;
        fn read_line(&mut self, buffer: &mut String) -> io::Result<usize>;
    }
}
