//! `mainstay source reverify`: what was refused for a fault of ours comes in after all.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::{
    Context,
    api::{Api, SOURCES, list, number, text},
    args::Consent,
    failure::Failure,
    table::{Column, Fields, Table},
};

pub(super) async fn run(
    context: &Context,
    api: &Api,
    source: &str,
    plan_only: bool,
    consent: Consent,
) -> Result<(), Failure> {
    let id = api.find_id(SOURCES, source).await?;
    let path = format!("{}/{id}/reverify", SOURCES.path);
    let plan = all(api, &path, true).await?;
    if plan_only {
        return context.show(&plan, |out| out.text(&told(&plan, true)));
    }
    if number(&plan, "/genuine") == 0 {
        return context.show(&plan, |out| {
            out.text(&told(&plan, true))?;
            out.line("nothing to release: none of them proves genuine")
        });
    }
    context.out.remark(told(&plan, true).trim_end());
    consent.ask("Release those that are genuine?")?;
    let done = all(api, &path, false).await?;
    context.show(&done, |out| out.text(&told(&done, false)))
}

/// Call after call, until all refused requests were looked at.
async fn all(api: &Api, path: &str, plan: bool) -> Result<Value, Failure> {
    const COUNTS: [&str; 5] = ["examined", "genuine", "released", "duplicates", "conflicts"];
    let mut sums = [0; COUNTS.len()];
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut after = Value::Null;
    loop {
        let answer = api
            .post_once(path, &json!({ "plan": plan, "after": after }), None)
            .await?;
        for (sum, name) in sums.iter_mut().zip(COUNTS) {
            *sum += number(&answer, &format!("/{name}"));
        }
        for one in list(&answer, "/still_refused") {
            *reasons.entry(text(one, "/reason")).or_default() += number(one, "/count");
        }
        after = answer.get("next").cloned().unwrap_or_default();
        if after.is_null() {
            break;
        }
    }
    let mut whole = serde_json::Map::new();
    for (name, sum) in COUNTS.into_iter().zip(sums) {
        whole.insert(name.to_owned(), sum.into());
    }
    let reasons: Vec<Value> = reasons
        .into_iter()
        .map(|(reason, count)| json!({ "reason": reason, "count": count }))
        .collect();
    whole.insert("still_refused".to_owned(), reasons.into());
    Ok(Value::Object(whole))
}

fn told(answer: &Value, plan: bool) -> String {
    let mut fields = Fields::default();
    let mut add = |name, pointer| {
        fields.add(name, number(answer, pointer).to_string());
    };
    add("refused requests", "/examined");
    add("genuine", "/genuine");
    if !plan {
        add("released", "/released");
        add("duplicates", "/duplicates");
        add("conflicts", "/conflicts");
    }
    let mut all = fields.render(false);
    let mut reasons = Table::new(&[Column::Number("COUNT"), Column::Text("STILL REFUSED FOR")]);
    for one in list(answer, "/still_refused") {
        reasons.row([text(one, "/count").into(), text(one, "/reason").into()]);
    }
    if !reasons.is_empty() {
        all.push_str(&reasons.render(None, false));
    }
    all
}
