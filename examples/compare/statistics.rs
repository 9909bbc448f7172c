//! Medians, spreads and verdicts.

/// The median and the quartiles of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The lower quartile.
    pub(crate) low: f64,
    pub(crate) median: f64,
    /// The upper quartile.
    pub(crate) high: f64,
}

/// The conclusion from the ratios of two times, one ratio per round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Faster in at least three of four rounds.
    Faster,
    /// Slower in at least three of four rounds.
    Slower,
    /// Neither, and the ratios differ little.
    Alike,
    /// Neither, and the ratios differ much: the rounds contradict each other.
    TooNoisy,
}

/// The widest spread of `Alike`, relative to the median.
const ALIKE: f64 = 0.15;
/// The widest spread that is usual on an idle machine.
const USUAL: f64 = 0.3;

impl Spread {
    /// # Panics
    ///
    /// If there are no figures, or a figure is NaN.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = figures.into_iter().collect();
        assert!(!sorted.is_empty(), "no figures");
        sorted.sort_unstable_by(|a, b| a.partial_cmp(b).expect("a number"));
        Self {
            low: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            high: quantile(&sorted, 0.75),
        }
    }

    /// True if the spread is wider than usual, so that the median is only a rough figure.
    pub(crate) fn is_wide(self) -> bool {
        self.width() > USUAL
    }

    /// The verdict on the denominator, if the figures are ratios of two times.
    pub(crate) fn verdict(self) -> Verdict {
        if self.low > 1.0 {
            Verdict::Faster
        } else if self.high < 1.0 {
            Verdict::Slower
        } else if self.width() <= ALIKE {
            Verdict::Alike
        } else {
            Verdict::TooNoisy
        }
    }

    /// The distance of the quartiles, relative to the median.
    fn width(self) -> f64 {
        (self.high - self.low) / self.median
    }
}

/// Interpolates linearly between two figures.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(figures: &[f64]) -> Spread {
        Spread::of(figures.iter().copied())
    }

    fn verdict(figures: &[f64]) -> Verdict {
        spread(figures).verdict()
    }

    #[test]
    fn the_middle_half_of_five_figures_in_any_order() {
        let expected = Spread {
            low: 2.0,
            median: 3.0,
            high: 4.0,
        };
        assert_eq!(spread(&[5.0, 3.0, 1.0, 4.0, 2.0]), expected);
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 500.0]), expected); // an outlier
    }

    #[test]
    fn an_even_number_of_figures_has_its_median_between_two() {
        let expected = Spread {
            low: 1.75,
            median: 2.5,
            high: 3.25,
        };
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0]), expected);
    }

    #[test]
    fn one_figure_has_no_spread() {
        let expected = Spread {
            low: 7.0,
            median: 7.0,
            high: 7.0,
        };
        assert_eq!(spread(&[7.0]), expected);
    }

    #[test]
    #[should_panic = "no figures"]
    fn no_figures_have_no_median() {
        spread(&[]);
    }

    #[test]
    fn three_of_four_rounds_decide() {
        assert_eq!(verdict(&[0.9, 1.9, 2.0, 2.1, 2.2]), Verdict::Faster);
        assert_eq!(verdict(&[0.4, 0.5, 0.5, 0.6, 3.0]), Verdict::Slower);
    }

    #[test]
    fn small_differences_in_both_directions_are_alike() {
        assert_eq!(verdict(&[0.97, 0.99, 1.0, 1.02, 1.03]), Verdict::Alike);
        assert_eq!(verdict(&[1.0, 1.0, 1.0]), Verdict::Alike);
    }

    #[test]
    fn rounds_that_contradict_each_other_are_noise() {
        assert_eq!(verdict(&[0.5, 0.8, 1.1, 1.4, 2.0]), Verdict::TooNoisy);
    }

    #[test]
    fn a_wide_spread_is_rough() {
        let rough = spread(&[1.1, 1.2, 2.0, 9.0, 20.0]);
        assert_eq!((rough.verdict(), rough.is_wide()), (Verdict::Faster, true));
        assert!(!spread(&[1.9, 1.9, 2.0, 2.1, 20.0]).is_wide()); // an outlier
    }
}
