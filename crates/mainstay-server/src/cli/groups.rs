//! The commands in groups: the order in which a person meets them.

use clap::{Command, CommandFactory};

use super::Cli;

/// Title and commands of each group.
pub(super) const GROUPS: [(&str, &[&str]); 7] = [
    (
        "Server",
        &[
            "serve", "migrate", "backup", "restore", "move", "doctor", "node", "bench",
        ],
    ),
    ("Coming in", &["source", "send", "verify"]),
    ("Going out", &["endpoint", "binding", "schedule", "saga"]),
    ("As a file", &["apply", "diff", "export"]),
    (
        "What happens",
        &[
            "event",
            "timeline",
            "replay",
            "job",
            "dead-letter",
            "queue",
            "breaker",
            "line",
            "worker",
            "sql",
        ],
    ),
    ("For developers", &["listen", "simulate"]),
    ("Access", &["tenant", "user", "key", "vault", "audit"]),
];

/// The command, its help in groups.
pub(super) fn command() -> Command {
    let command = Cli::command();
    let listed = groups_text(&command);
    command
        .help_template("{about-with-newline}\n{usage-heading} {usage}\n{after-help}\n\nOptions for every command:\n{options}\n")
        .after_help(listed)
}

fn groups_text(command: &Command) -> String {
    let width = GROUPS
        .iter()
        .flat_map(|(_, names)| *names)
        .map(|name| name.len())
        .max();
    let width = width.unwrap_or(0);
    let mut lines = Vec::new();
    for (title, names) in GROUPS {
        lines.push(format!("\n{title}:"));
        for name in names {
            let found = command.find_subcommand(name).and_then(Command::get_about);
            let about = found.map(ToString::to_string).unwrap_or_default();
            lines.push(format!("  {name:width$}  {about}"));
        }
    }
    lines.push("\n`mainstay COMMAND --help` says more.".to_owned());
    lines.join("\n").trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_command_is_in_one_group() {
        let command = command();
        let mut grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let mut visible: Vec<&str> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(Command::get_name)
            .collect();
        grouped.sort_unstable();
        visible.sort_unstable();
        assert_eq!(grouped, visible);
    }

    #[test]
    fn no_command_takes_the_name_of_a_flag_of_all() {
        fn own(command: &Command, global: &[clap::Id]) {
            for arg in command.get_arguments() {
                assert!(
                    !global.contains(arg.get_id()),
                    "{} {}",
                    command.get_name(),
                    arg.get_id()
                );
            }
            command.get_subcommands().for_each(|one| own(one, global));
        }
        let command = command();
        let global: Vec<clap::Id> = command
            .get_arguments()
            .map(|arg| arg.get_id().clone())
            .collect();
        command.get_subcommands().for_each(|one| own(one, &global));
    }

    #[test]
    fn help_names_every_group() {
        let help = command().render_help().to_string();
        for (title, _) in GROUPS {
            assert!(help.contains(title), "{help}");
        }
    }
}
