//! The options of `network create` and `network set` about a network's gateway: one for each of
//! [`api::SETTINGS`].

use api::{NetworkSet, Routing, SETTINGS, Setting};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Settings of a network's gateway, and of who talks to whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoutingArgs(NetworkSet);

impl RoutingArgs {
    /// Returns what was said, and nothing else.
    pub(crate) fn set(&self) -> NetworkSet {
        self.0.clone()
    }
}

impl clap::Args for RoutingArgs {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for RoutingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            for text in matches
                .get_many::<String>(setting.key)
                .into_iter()
                .flatten()
            {
                let said = setting.set(&mut self.0, text);
                said.expect("the option's parser took it");
            }
        }
        Ok(())
    }
}

fn option(setting: &'static Setting) -> Arg {
    let parser = |text: &str| {
        let said = setting.set(&mut NetworkSet::default(), text);
        said.map(|()| text.to_owned())
    };
    let option = Arg::new(setting.key)
        .long(setting.key)
        .value_name(setting.value)
        .help(help(setting))
        .value_parser(parser)
        .action(if setting.repeats {
            ArgAction::Append
        } else {
            ArgAction::Set
        });
    if setting.alone {
        return option
            .num_args(0..=1)
            .default_missing_value("on")
            .require_equals(true);
    }
    option
}

/// `Behave like this NAT: rfc, linux or home [default: rfc]`.
fn help(setting: &Setting) -> String {
    let words = match setting.words.split_last() {
        Some((last, others)) => format!(": {} or {last}", others.join(", ")),
        None => String::new(),
    };
    let default = setting.show(&Routing::default());
    format!("{}{words} [default: {default}]", setting.help)
}
