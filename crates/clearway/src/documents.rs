//! What a package brings beside the binary: manual pages and completions, made from the definition
//! of the command line, so that they say what this very binary does.

use clap_complete::Shell;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Writes `clearway.1`, `clearway-network.1`, ... into `directory`, which is made.
///
/// # Errors
/// What the kernel says about the directory or a file.
pub(crate) fn man(line: clap::Command, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(line, directory)
}

/// Writes a script for `shell` to `out`.
///
/// # Errors
/// What the kernel says about `out`.
pub(crate) fn completions(
    mut line: clap::Command,
    shell: Shell,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = line.get_name().to_owned();
    // In memory first: the generator takes a failed write for a mistake of its caller.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut line, name, &mut script);
    out.write_all(&script)?;
    out.flush()
}

/// Success, or the reason on stderr.
pub(crate) fn told(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing more can be done when standard error is closed, too.
            let _ = writeln!(io::stderr(), "clearway: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Line;
    use clap::CommandFactory;

    /// The whole line: a command has its options and subcommands once it is built.
    fn line() -> clap::Command {
        let mut line = Line::command().disable_help_subcommand(true);
        line.build();
        line
    }

    /// Every command that is shown, as it is typed: `clearway network create`.
    fn commands(under: &clap::Command, path: &str) -> Vec<String> {
        let mut found = vec![path.to_owned()];
        for command in under.get_subcommands().filter(|c| !c.is_hide_set()) {
            found.extend(commands(command, &format!("{path} {}", command.get_name())));
        }
        found
    }

    #[test]
    fn every_command_has_a_page_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("man");
        man(Line::command(), &directory).unwrap();
        let commands = commands(&line(), "clearway");
        assert!(commands.contains(&"clearway docker install".to_owned()));
        for command in &commands {
            let page = directory.join(command.replace(' ', "-") + ".1");
            let text = std::fs::read_to_string(&page).unwrap();
            let title = command.replace(' ', "\\-");
            assert!(text.contains(&title), "{command}: {text}");
        }
        let pages = std::fs::read_dir(&directory).unwrap().count();
        assert_eq!(pages, commands.len(), "no page without a command");
    }

    #[test]
    fn completions_know_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            completions(Line::command(), shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for command in commands(&line(), "clearway") {
                let word = command.rsplit(' ').next().unwrap();
                assert!(script.contains(word), "{shell}: {command} is missing");
            }
        }
    }
}
