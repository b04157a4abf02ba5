//! `mainstay apply`, `diff` and `export`: sources, endpoints, bindings and schedules as a file.
//!
//! The file is read and its variables are filled in here; what is to change is the server's to find out, and to change
//! in one transaction.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

#[cfg(test)]
mod fuzz;
mod read;
mod write;

use super::{
    Context,
    api::{list, number, text},
    args::{Consent, TargetArgs, input_read},
    failure::{Exit, Failure},
    output::Output,
    table::{Tone, clean},
};

use read::Declared;

/// Where the API takes a declaration.
const APPLY: &str = "/v1/configuration/apply";

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Show the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The file, YAML or JSON; - for standard input
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Remove what the file does not declare, in the tenants that it names
    #[arg(long)]
    prune: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Only this tenant's (default: all that the key reaches)
    #[arg(long)]
    tenant: Option<String>,
    /// With the links of sources: where the file is applied later, those made since are removed
    #[arg(long)]
    links: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl FileArgs {
    /// The file with its variables filled in.
    fn read(&self) -> Result<Declared, Failure> {
        let bytes = input_read(&self.file)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("{} is not text", self.name())))?;
        let variable = |name: &str| std::env::var(name).ok();
        read::read(&text, &variable).map_err(|wrong| {
            let failure = Failure::usage(format!("{} cannot be used", self.name()));
            let missing = wrong
                .iter()
                .any(|(_, detail)| detail.contains("is not set"));
            let failure = failure.places(wrong);
            if missing {
                failure.hint("set these variables; $$ stands for a dollar sign that begins none")
            } else {
                failure
            }
        })
    }

    fn name(&self) -> String {
        if self.file == Path::new("-") {
            "standard input".to_owned()
        } else {
            self.file.display().to_string()
        }
    }

    fn request(&self, declared: &Declared, dry_run: bool, version: Option<i64>) -> Value {
        json!({
            "configuration": declared.value, "dry_run": dry_run, "prune": self.prune, "version": version,
        })
    }

    /// What the server would change.
    async fn plan(&self, context: &Context, declared: &Declared) -> Result<Value, Failure> {
        let api = context.api()?;
        let asked = api.post(APPLY, &self.request(declared, true, None)).await;
        asked.map_err(|failure| failure.renamed(|pointer| declared.place(pointer)))
    }
}

pub(super) async fn diff(context: &Context, args: DiffArgs) -> Result<(), Failure> {
    let declared = args.file.read()?;
    let plan = args.file.plan(context, &declared).await?;
    context.show(&plan, |out| plan_show(out, &plan, false))?;
    if list(&plan, "/changes").is_empty() {
        Ok(())
    } else {
        Err(Failure::said(Exit::Differs))
    }
}

pub(super) async fn apply(context: &Context, args: ApplyArgs) -> Result<(), Failure> {
    let declared = args.file.read()?;
    let plan = args.file.plan(context, &declared).await?;
    let nothing = list(&plan, "/changes").is_empty();
    if args.dry_run {
        return context.show(&plan, |out| plan_show(out, &plan, false));
    }
    if !context.out.is_json() {
        plan_show(&context.out, &plan, true)?;
        context.out.flush()?;
    }
    let question = taken_away(&plan, &args.file.name());
    if let Some(question) = &question {
        args.consent.ask(question)?;
    }
    let done = if nothing {
        json!({
            "applied": true, "version": plan["version"], "changes": [], "unchanged": plan["unchanged"],
            "unmanaged": plan["unmanaged"],
        })
    } else {
        // Nothing may be taken away but what was agreed to.
        let bound = question.is_some() || declares_links(&declared.value);
        let version = plan["version"].as_i64().filter(|_| bound);
        let request = args.file.request(&declared, false, version);
        let made = context.api()?.post_once(APPLY, &request, None).await;
        made.map_err(|failure| failure.renamed(|pointer| declared.place(pointer)))?
    };
    context.show(&done, |out| out.line(&summary(&done, true)))
}

pub(super) async fn export(context: &Context, args: ExportArgs) -> Result<(), Failure> {
    let found = context
        .api()?
        .get(
            "/v1/configuration",
            &[
                ("tenant", args.tenant),
                ("links", args.links.then(|| "true".to_owned())),
            ],
        )
        .await?;
    if args.target.output.is_none() && context.out.json(&found)? {
        return Ok(());
    }
    let text = write::write(&found);
    let Some(path) = args.target.output else {
        return context.out.text(&text);
    };
    let written = std::fs::File::create_new(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot write {}", path.display()))
            .detail(error.to_string())
    })?;
    let variables = list(&found, "/variables").len();
    context.out.remark(&format!(
        "written to {}; it needs {variables} variables, listed at its head",
        path.display()
    ));
    Ok(())
}

fn things(count: usize) -> String {
    match count {
        1 => "1 thing".to_owned(),
        more => format!("{more} things"),
    }
}

fn values(count: usize) -> String {
    match count {
        1 => "1 value".to_owned(),
        more => format!("{more} values"),
    }
}

/// How many of a provider's values stand for another tenant afterwards (`to_another`), or for none.
fn relinked(plan: &Value, to_another: bool) -> usize {
    let changes = list(plan, "/changes").iter();
    let fields = changes.flat_map(|change| list(change, "/fields"));
    let taken = fields
        .filter(|field| is_link(&text(field, "/field")))
        .filter(|field| !field["old"].is_null());
    taken
        .filter(|field| field["new"].is_null() != to_another)
        .count()
}

/// What a plan takes away that is there, for the question; none: it takes nothing.
fn taken_away(plan: &Value, file: &str) -> Option<String> {
    let (removed, unlinked) = (count(plan, "delete"), relinked(plan, false));
    let moved = relinked(plan, true);
    let gone = match (removed, unlinked) {
        (0, 0) => None,
        (removed, 0) => Some(format!("remove {}", things(removed))),
        (0, unlinked) => Some(format!("unlink {}", values(unlinked))),
        (removed, unlinked) => Some(format!(
            "remove {} and unlink {}",
            things(removed),
            values(unlinked)
        )),
    };
    let gone = gone.map(|gone| format!("{gone} that {file} does not declare"));
    let moved = (moved > 0).then(|| format!("link {} to another tenant", values(moved)));
    let parts: Vec<String> = gone.into_iter().chain(moved).collect();
    let asked = parts.join(", and ");
    let (first, rest) = asked.split_at_checked(1)?;
    Some(format!("{}{rest}?", first.to_uppercase()))
}

/// Whether a source's links are declared: then those that are made since the plan would be removed unseen.
fn declares_links(declared: &Value) -> bool {
    let mut sources = list(declared, "/sources").iter();
    sources.any(|source| !source["links"].is_null())
}

fn is_link(field: &str) -> bool {
    field.starts_with("/links/")
}

fn count(plan: &Value, action: &str) -> usize {
    let changes = list(plan, "/changes").iter();
    changes
        .filter(|change| text(change, "/action") == action)
        .count()
}

fn summary(plan: &Value, applied: bool) -> String {
    let (words, unchanged) = (
        if applied {
            ["created", "changed", "removed"]
        } else {
            ["to create", "to change", "to remove"]
        },
        number(plan, "/unchanged"),
    );
    let [created, changed, removed] = ["create", "update", "delete"].map(|one| count(plan, one));
    if created + changed + removed == 0 {
        return format!("nothing to change; {unchanged} as declared");
    }
    format!(
        "{created} {}, {changed} {}, {removed} {}; {unchanged} as declared",
        words[0], words[1], words[2]
    )
}

/// The plan for people. Where it is carried out at once, what was done is said after it.
fn plan_show(out: &Output, plan: &Value, goes_on: bool) -> Result<(), Failure> {
    for change in list(plan, "/changes") {
        let (sign, tone) = match text(change, "/action").as_str() {
            "create" => ("+", Tone::Good),
            "delete" => ("-", Tone::Bad),
            _ => ("~", Tone::Warn),
        };
        out.toned(tone, &format!("{sign} {}", thing(change)))?;
        let fields = list(change, "/fields").iter();
        // The name stands above already.
        for field in fields.filter(|field| text(field, "/field") != "/name") {
            out.line(&format!("    {}", field_line(field)))?;
        }
    }
    let unmanaged = list(plan, "/unmanaged");
    if !unmanaged.is_empty() {
        out.line("not declared, left alone:")?;
    }
    for one in unmanaged {
        out.line(&format!("  {}", thing(one)))?;
    }
    if goes_on {
        return Ok(());
    }
    out.line(&summary(plan, false))
}

fn thing(value: &Value) -> String {
    clean(&format!(
        "{} '{}' of {}",
        text(value, "/kind"),
        text(value, "/name"),
        text(value, "/tenant")
    ))
}

fn field_line(field: &Value) -> String {
    let name = text(field, "/field");
    let nothing = if is_link(&name) { "nothing" } else { "default" };
    let name = name.trim_start_matches('/').replace('/', ".");
    let (old, new) = (&field["old"], &field["new"]);
    let said = match (old.is_null(), new.is_null()) {
        (true, true) => "changed".to_owned(),
        (true, false) => new.to_string(),
        (false, true) => format!("{old} → {nothing}"),
        (false, false) => format!("{old} → {new}"),
    };
    clean(&format!("{name}: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_said_old_and_new_and_a_secret_only_changed() {
        let line = |old: Value, new: Value| {
            field_line(&json!({ "field": "/retry/base_ms", "old": old, "new": new }))
        };
        assert_eq!(line(json!(1), json!(2)), "retry.base_ms: 1 → 2");
        assert_eq!(line(json!(null), json!("a")), "retry.base_ms: \"a\"");
        assert_eq!(line(json!(1), json!(null)), "retry.base_ms: 1 → default");
        assert_eq!(line(json!(null), json!(null)), "retry.base_ms: changed");
        let unlinked = json!({ "field": "/links/acct_1", "old": "default", "new": null });
        assert_eq!(field_line(&unlinked), "links.acct_1: \"default\" → nothing");
    }

    #[test]
    fn what_is_taken_away_is_asked_for_and_a_value_that_moves_is() {
        let link = |name: &str, old: Value, new: Value| json!({ "field": format!("/links/{name}"), "old": old, "new": new });
        let plan =
            |fields: &[Value]| json!({ "changes": [{ "action": "update", "fields": fields }] });
        let new = link("a", json!(null), json!("acme"));
        let unlinked = link("b", json!("acme"), json!(null));
        let moved = link("c", json!("acme"), json!("zenith"));
        let other = json!({ "field": "/enabled", "old": true, "new": false });
        let asked = |fields: &[Value]| taken_away(&plan(fields), "a.yaml");
        assert_eq!(asked(&[new.clone(), other]), None);
        let said = asked(&[moved.clone(), new]);
        assert_eq!(said.as_deref(), Some("Link 1 value to another tenant?"));
        let said = asked(&[moved, unlinked]);
        assert_eq!(
            said.as_deref(),
            Some(
                "Unlink 1 value that a.yaml does not declare, and link 1 value to another tenant?"
            )
        );
        let mut removing = plan(&[]);
        removing["changes"][0]["action"] = json!("delete");
        assert_eq!(
            taken_away(&removing, "a.yaml").as_deref(),
            Some("Remove 1 thing that a.yaml does not declare?")
        );
        assert!(declares_links(
            &json!({ "sources": [{ "name": "a", "links": {} }] })
        ));
        assert!(!declares_links(&json!({ "sources": [{ "name": "a" }] })));
    }
}
