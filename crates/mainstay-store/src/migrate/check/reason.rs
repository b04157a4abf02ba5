//! Why something is safe, as the comment above a statement says: `-- safe RULE[, RULE]: why`.

use super::{Finding, Place, Rule};

const BEGIN: &str = "safe ";

/// The reasons given for one statement.
#[derive(Default)]
pub(super) struct Reasons(Vec<Given>);

struct Given {
    rule: Rule,
    needed: bool,
}

impl Reasons {
    /// Of the comments above a statement, with what is wrong with them.
    pub(super) fn read(comments: &[String], place: &Place) -> (Self, Vec<Finding>) {
        let mut reasons = Self::default();
        let mut findings = Vec::new();
        for comment in comments {
            let Some(text) = comment.trim().strip_prefix(BEGIN) else {
                continue;
            };
            let Some((rules, why)) = text.split_once(':') else {
                // A sentence that begins with this word.
                continue;
            };
            if why.trim().is_empty() {
                findings.push(place.finding(Rule::Reason, "says that it is safe and not why"));
            }
            for name in rules.split(',').map(str::trim) {
                match Rule::named(name) {
                    Some(rule) => reasons.0.push(Given {
                        rule,
                        needed: false,
                    }),
                    None => {
                        let what = format!("there is no rule {name:?} that could be broken");
                        findings.push(place.finding(Rule::Reason, what));
                    }
                }
            }
        }
        (reasons, findings)
    }

    /// Whether a reason is given for breaking this rule.
    pub(super) fn given(&mut self, rule: Rule) -> bool {
        self.given_if(rule, true)
    }

    /// The same where the rule may be broken; a reason that stands where it cannot be is not needed.
    pub(super) fn given_if(&mut self, rule: Rule, broken: bool) -> bool {
        let mut given = false;
        for one in self.0.iter_mut().filter(|one| broken && one.rule == rule) {
            one.needed = true;
            given = true;
        }
        given
    }

    /// The reasons that nothing needed: what they were written for has changed.
    pub(super) fn unused(self, place: &Place) -> impl Iterator<Item = Finding> {
        let unused = self.0.into_iter().filter(|one| !one.needed);
        unused.map(|one| {
            let what = format!(
                "a reason for {}, which this statement does not need",
                one.rule
            );
            place.finding(Rule::Reason, what)
        })
    }
}
