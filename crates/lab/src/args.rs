//! The lab's command line.

/// Builds containers in a corner of their own and shows the switch at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct Args {
    /// Measure for a moment only: a few seconds in all
    #[arg(long)]
    pub quick: bool,

    /// Print one JSON document, and nothing else, on standard output
    #[arg(long)]
    pub json: bool,

    /// Leave everything running until Ctrl-C, and say how to look at it
    #[arg(long)]
    pub keep: bool,

    /// Do not send the same traffic over a Linux bridge
    #[arg(long)]
    pub no_compare: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches};

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(clap::Command::new("lab"));
        let words = [&["lab"], words].concat();
        Args::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn everything_is_off_unless_asked_for() {
        assert_eq!(parse(&[]).unwrap(), Args::default());
        let all = Args {
            quick: true,
            json: true,
            keep: true,
            no_compare: true,
        };
        assert_eq!(
            parse(&["--keep", "--no-compare", "--json", "--quick"]).unwrap(),
            all
        );
        assert!(parse(&["--fast"]).is_err());
        assert!(parse(&["surprise"]).is_err());
    }
}
