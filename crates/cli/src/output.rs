//! Tables for people, JSON for programs.

use crate::failure::Failure;
use api::Step;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: what the API answered
    Json,
}

/// The option of every command that reads.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Output {
    /// Print a table or JSON
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) format: Format,
}

impl Output {
    /// Prints `answer`, for people as `text` puts it.
    pub(crate) fn print<T: Serialize + ?Sized>(
        self,
        out: &mut dyn Write,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => text(answer),
            Format::Json => {
                serde_json::to_string_pretty(answer).map_err(std::io::Error::from)? + "\n"
            }
        };
        out.write_all(text.as_bytes())?;
        Ok(())
    }
}

/// Lines of columns under a header, two spaces between them and none at a line's end.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    columns(std::iter::once(header.map(str::to_owned)).chain(rows))
}

/// The reason for which writing to a text cannot fail.
pub(crate) const INFALLIBLE: &str = "a String takes every write";

/// Decisions, a line each, those of one stage under its name.
pub(crate) fn by_stage(steps: &[Step], indent: &str) -> String {
    let mut text = String::new();
    let mut last = "";
    for step in steps {
        let stage = if last == step.stage { "" } else { &step.stage };
        last = &step.stage;
        writeln!(text, "{indent}{stage:9} {}", step.sentence).expect(INFALLIBLE);
    }
    text
}

/// A line each of a name and what it is; what has nothing to say is left out.
pub(crate) fn pairs<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let told = lines.into_iter().filter(|(_, what)| !what.is_empty());
    columns(told.map(|(name, what)| [format!("{name}:"), what]))
}

/// Lines of columns, two spaces between them and none at a line's end. Nothing is wrapped: the
/// text may go to another program.
fn columns<const N: usize>(lines: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .add_rows(lines);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Several words in one cell; `-` for none.
pub(crate) fn list<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(",")
    }
}

/// A word in a cell; `-` for none.
pub(crate) fn word<T: ToString>(word: Option<T>) -> String {
    word.map_or_else(|| "-".to_owned(), |word| word.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_at_their_last_letter() {
        let text = table(
            ["NAME", "MTU"],
            [
                ["blue".into(), "1500".into()],
                ["longer-name".into(), String::new()],
            ],
        );
        assert_eq!(text, "NAME         MTU\nblue         1500\nlonger-name\n");
        assert_eq!(table(["NAME"], []), "NAME\n");
    }

    #[test]
    fn pairs_are_aligned_and_silent_ones_left_out() {
        assert_eq!(
            pairs([
                ("a", "1".into()),
                ("long", "2".into()),
                ("none", String::new())
            ]),
            "a:     1\nlong:  2\n"
        );
    }

    #[test]
    fn cells_are_never_empty() {
        assert_eq!(
            (
                list([1, 2]),
                list::<u8>([]),
                word(Some(3)),
                word::<u8>(None)
            ),
            ("1,2".into(), "-".into(), "3".into(), "-".into())
        );
    }
}
