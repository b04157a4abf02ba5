//! `docs/cli.md`, made of the arguments themselves, so that it cannot be wrong.

use clap::{Arg, ArgAction, Command};

use super::{
    failure::Exit,
    groups::{self, GROUPS},
};

const HEAD: &str = "\
# Command line

<!-- Made by `mainstay docs`; a test compares. Do not edit. -->

Commands that look at data talk to a running server over its API. They find it by `--url` and `--api-key` (or
`MAINSTAY_URL` and `MAINSTAY_API_KEY`), else by the file `api.json` that a server leaves in its data directory, readable
by its user alone. `serve`, `migrate`, `backup`, `restore` and `doctor` open the database themselves; `verify` needs
neither.

Tables are for people: cut to the terminal's width, without colour where there is no terminal or `NO_COLOR` is set.
With `--json` a command prints the API's own JSON, and an error as one JSON object on standard error.

A secret is given as itself, as `@FILE`, or as `-` for standard input; the last two leave no trace in the shell's history.
A time is `2026-11-21T10:00:00Z`, or how long ago: `90s`, `15m`, `2h`, `7d`.

";

/// The whole page.
pub(super) fn markdown() -> String {
    let mut root = groups::command();
    root.build();
    let mut lines = vec![HEAD.to_owned(), "## Exit codes\n".to_owned()];
    lines.push("| code | meaning |\n| --- | --- |\n| 0 | it is done |".to_owned());
    lines.extend(Exit::ALL.map(|(exit, meaning)| format!("| {} | {meaning} |", exit as u8)));
    lines.push("\n## Options for every command\n".to_owned());
    options(&mut lines, &root, |arg| {
        arg.is_global_set() && arg.get_id() != "help"
    });
    for (title, names) in GROUPS {
        lines.push(format!("\n## {title}"));
        for command in names.iter().filter_map(|name| root.find_subcommand(name)) {
            describe(&mut lines, command, "mainstay");
        }
    }
    lines.join("\n") + "\n"
}

fn describe(lines: &mut Vec<String>, command: &Command, parent: &str) {
    let name = format!("{parent} {}", command.get_name());
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    lines.push(format!("\n### {name}\n\n{about}.\n\n```\n{usage}\n```"));
    let is_own = |arg: &Arg| !is_for_every(arg) && !arg.is_hide_set() && arg.get_id() != "help";
    if command.get_arguments().any(is_own) {
        lines.push(String::new());
        options(lines, command, is_own);
    }
    for subcommand in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        if subcommand.get_name() != "help" {
            describe(lines, subcommand, &name);
        }
    }
}

fn options(lines: &mut Vec<String>, command: &Command, wanted: impl Fn(&Arg) -> bool) {
    lines.push("| option | meaning |\n| --- | --- |".to_owned());
    for arg in command.get_arguments().filter(|arg| wanted(arg)) {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let values = values(arg)
            .map(|values| format!(": {values}"))
            .unwrap_or_default();
        let default = default(arg).map(|default| format!(" [default: {default}]"));
        let variable = arg
            .get_env()
            .map(|name| format!(" [variable: {}]", name.to_string_lossy()));
        lines.push(format!(
            "| `{}` | {}{values}{}{} |",
            spelled(arg),
            help.replace('|', "\\|"),
            default.unwrap_or_default(),
            variable.unwrap_or_default(),
        ));
    }
}

/// Whether every command takes it. Some flags are global below one command only.
fn is_for_every(arg: &Arg) -> bool {
    ["json", "config", "data", "database", "url", "api_key"].contains(&arg.get_id().as_str())
}

fn spelled(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = names.first().map(ToString::to_string).unwrap_or_default();
    let short = arg
        .get_short()
        .map(|short| format!("-{short}, "))
        .unwrap_or_default();
    match arg.get_long() {
        Some(long) if takes => format!("{short}--{long} <{value}>"),
        Some(long) => format!("{short}--{long}"),
        None => format!("<{value}>"),
    }
}

fn values(arg: &Arg) -> Option<String> {
    if !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        return None;
    }
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn default(arg: &Arg) -> Option<String> {
    if !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        return None;
    }
    let first = arg.get_default_values().first()?;
    Some(first.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == markdown(),
            "docs/cli.md is not what the arguments say; run `cargo run -- docs > docs/cli.md`"
        );
    }

    #[test]
    fn every_option_is_explained() {
        let mut root = groups::command();
        root.build();
        explained(&root);
    }

    fn explained(command: &Command) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let name = format!("{} {}", command.get_name(), arg.get_id());
            assert!(
                arg.get_help()
                    .is_some_and(|help| !help.to_string().is_empty()),
                "{name}"
            );
        }
        for subcommand in command.get_subcommands() {
            assert!(
                subcommand.get_about().is_some(),
                "{}",
                subcommand.get_name()
            );
            explained(subcommand);
        }
    }
}
