//! The poison rule: what it says of a job that the process died while it was tried, again and again.
//!
//! A job that kills the process must be isolated, or it does so for ever. One that was only there when the power went
//! must not. So two losses in a row prove nothing; they make the job a *suspect*, and of the suspects one runs at a
//! time, on an owner that has lived for a while. Two more, both while it was the suspect that had begun last, convict
//! it.

/// How the last attempts of a job were lost with their process. The code of the last attempt holds it, so that it needs
/// no row of its own and ends with the next attempt that tells how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Loss {
    /// The last one was not lost.
    #[default]
    None,
    /// The last one was.
    Once,
    /// The last two were, or more.
    Again,
    /// It was a suspect already, and the one that had begun last.
    Alone,
}

/// The code of a job's last attempt that was lost once too often.
pub const LOST_REPEATEDLY: &str = "lost_repeatedly";

impl Loss {
    /// What the code of a job's last attempt says.
    pub fn of(code: Option<&str>) -> Self {
        let lost = [Self::Once, Self::Again, Self::Alone];
        let named = lost.into_iter().find(|loss| Some(loss.code()) == code);
        named.unwrap_or_default()
    }

    /// The code of an attempt that was lost like this.
    pub const fn code(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Once => "lost",
            Self::Again => "lost_again",
            Self::Alone => "lost_alone",
        }
    }

    /// Whether the job may be what kills the process.
    pub const fn is_suspect(self) -> bool {
        matches!(self, Self::Again | Self::Alone)
    }

    /// What it is after one loss more. `alone`: it was the suspect that had begun last. `None`: it is not tried again.
    pub const fn and_again(self, alone: bool) -> Option<Self> {
        match (self, alone) {
            (Self::None, _) => Some(Self::Once),
            (Self::Once, _) | (Self::Again | Self::Alone, false) => Some(Self::Again),
            (Self::Again, true) => Some(Self::Alone),
            (Self::Alone, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_isolated_when_the_process_died_twice_while_it_was_the_only_suspect() {
        let once = Loss::None.and_again(true);
        assert_eq!(once, Some(Loss::Once));
        let again = once.and_then(|loss| loss.and_again(true));
        assert_eq!(again, Some(Loss::Again));
        let alone = again.and_then(|loss| loss.and_again(true));
        assert_eq!(alone, Some(Loss::Alone));
        assert_eq!(alone.and_then(|loss| loss.and_again(true)), None);
    }

    #[test]
    fn losses_in_company_isolate_nobody() {
        let mut loss = Loss::None;
        for _ in 0..100 {
            loss = loss.and_again(false).expect("it is tried again");
        }
        assert_eq!(loss, Loss::Again);
        assert_eq!(Loss::Alone.and_again(false), Some(Loss::Again));
    }

    #[test]
    fn a_code_says_what_it_was_made_from() {
        for loss in [Loss::Once, Loss::Again, Loss::Alone] {
            assert_eq!(Loss::of(Some(loss.code())), loss);
        }
        for other in [None, Some(""), Some("interrupted"), Some(LOST_REPEATEDLY)] {
            assert_eq!(Loss::of(other), Loss::None);
        }
    }
}
