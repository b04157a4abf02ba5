//! What a run of a saga promises, whatever its definition, whatever its jobs do, and wherever a crash comes: every look is
//! taken twice, every job's end may be heard of again, and a decision that was made may be lost before it was written.

use mainstay_domain::{
    Category, JobId, SagaId, SagaRunId, TenantId, Timestamp,
    jobs::{Attempt, Outcome},
    sagas::{
        Action, Cancel, Certainty, Decision, Definition, Does, Fact, Look, Made, Part, RunState,
        SagaRun, SagaTold, SagaVersion, Step, StepState, Task, Verdict,
        definition::{InputError, Missing, render},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_secs(1_000);

/// How the job of a part of a step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    /// Refused: it took no effect.
    Refused,
    /// Its last answer was lost, and it took effect.
    LostDone,
    /// Its last answer was lost, and it took none.
    LostUndone,
    /// It goes on until it is cancelled: by its step's timeout.
    Late,
}

/// What is made up of a step.
#[derive(Debug, Clone, Copy)]
struct Plan {
    approval: Option<bool>,
    end: End,
    compensation: bool,
    /// Whether a look-up is there, and whether it answers.
    lookup: Option<bool>,
    /// How often what undoes it dies before it succeeds.
    deaths: u8,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        6 => Just(End::Done),
        1 => Just(End::Refused),
        1 => Just(End::LostDone),
        1 => Just(End::LostUndone),
        1 => Just(End::Late),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let approval = prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let parts = (approval, end(), prop::bool::weighted(0.8));
    (parts, any::<Option<bool>>(), 0..3_u8).prop_map(
        |((approval, end, compensation), lookup, deaths)| Plan {
            approval,
            end,
            compensation,
            lookup,
            deaths,
        },
    )
}

fn action(kind: &str) -> Action {
    Action {
        kind: kind.into(),
        endpoint: None,
        queue: 1,
        input: None,
        retry: None,
    }
}

fn definition(plans: &[Plan]) -> Definition {
    let step = |(index, plan): (usize, &Plan)| Step {
        name: format!("step-{index}"),
        does: match plan.approval {
            Some(_) => Does::Approval { deadline_ms: None },
            None => Does::Task(Box::new(Task {
                action: action("do"),
                timeout_ms: Some(60_000),
                compensation: plan.compensation.then(|| action("undo")),
                lookup: plan.lookup.map(|_| action("ask")),
            })),
        },
    };
    Definition {
        steps: plans.iter().enumerate().map(step).collect(),
    }
}

/// The world around a run: its row, its jobs, and what they really did.
struct World<'a> {
    plans: &'a [Plan],
    definition: Definition,
    run: SagaRun,
    /// The job that is open or has just ended.
    job: Option<(Made, u8)>,
    /// It was cancelled by the run.
    cut: bool,
    now: Timestamp,
    next_job: u128,
    /// Really done and not undone, in the order of doing.
    standing: Vec<usize>,
    /// What was undone, in order.
    undone: Vec<usize>,
    keys: Vec<(String, JobId)>,
}

impl<'a> World<'a> {
    fn new(plans: &'a [Plan]) -> Self {
        let version = SagaVersion {
            tenant: TenantId::NIL,
            saga: SagaId::NIL,
            version: 1,
            definition: definition(plans),
            created_at: NOW,
            by: "key:test".into(),
        };
        let input = json!({ "amount": 7 });
        let by = "key:test".into();
        let run = SagaRun::begin(SagaRunId::NIL, &version, input, None, by, NOW);
        Self {
            plans,
            definition: version.definition,
            run,
            job: None,
            cut: false,
            now: NOW,
            next_job: 0,
            standing: Vec::new(),
            undone: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn decide(&self, fact: Option<&Fact>, id: u128) -> Option<Decision> {
        let look = Look {
            saga: "order",
            definition: &self.definition,
            run: &self.run,
            fact,
            now: self.now,
        };
        look.decide(|| JobId::from_uuid(uuid(id)))
    }

    /// One look: decided twice (the first time is lost in a crash before its commit), then written, then looked at again.
    fn look(&mut self, fact: Option<&Fact>) {
        let id = self.next_job + 1;
        let first = self.decide(fact, id);
        let again = self.decide(fact, id);
        assert_eq!(first, again, "the same is decided after a crash");
        let Some(decision) = again else { return };
        if let Some(job) = decision.cancel.or(decision.discard) {
            assert_eq!(self.run.job, Some(job), "only its own job is ended");
        }
        self.check_back(&decision);
        if decision.cancel.is_some() {
            assert_eq!(decision.made, None, "first it is seen what had begun");
            self.cut = true;
        }
        let cut = decision.cancel.is_some();
        self.run = SagaRun {
            revision: self.run.revision + 1,
            ..decision.run
        };
        if let Some(made) = decision.made {
            self.next_job = id;
            let key = (made.told.idempotency_key.clone(), made.id);
            let known = self.keys.iter().any(|(known, _)| *known == key.0);
            assert!(
                !known || made.told.part == Part::Lookup,
                "nothing is done a second time by another job: {key:?}"
            );
            self.keys.push(key);
            assert_eq!(self.run.job, Some(made.id));
            self.job = Some((made, 0));
            self.cut = false;
        }
        // Looked at a second time, with its job just made: nothing more happens.
        let open = self.run.job.map(|_| Fact::Open { maybe: false });
        let late = self.run.steps.iter().any(|step| {
            step.state == StepState::Running && step.deadline.is_some_and(|at| at <= self.now)
        });
        if !late && !cut && self.run.state != RunState::Failed {
            assert_eq!(self.decide(open.as_ref(), 0), None, "it does nothing twice");
        }
    }

    /// What undoes a step is made only when everything after it is undone, or is not to be.
    fn check_back(&self, decision: &Decision) {
        let undo = |made: &&Made| made.told.part == Part::Compensation;
        let Some(made) = decision.made.as_ref().filter(undo) else {
            return;
        };
        let index = index(&made.told);
        assert_ne!(self.plans[index].end, End::Refused, "it was never done");
        let later = self.standing.iter().filter(|done| **done > index);
        for done in later {
            assert!(
                !self.plans[*done].compensation,
                "{done} is to be undone first"
            );
        }
        let told = made.told.outcome.expect("it is told how far that is known");
        let known = decision.run.steps[index].uncertain;
        assert_eq!(told == Certainty::Unknown, known);
    }

    /// Carries the run to where nothing more happens by itself.
    fn play(&mut self, cancel_at: Option<usize>) {
        for turn in 0..400 {
            if cancel_at == Some(turn)
                && matches!(self.run.state, RunState::Running | RunState::Waiting)
            {
                self.run.cancel = Some(Cancel {
                    by: "user:ben".into(),
                    reason: None,
                    at: self.now,
                });
            }
            let fact = self.fact();
            self.look(fact.as_ref());
            if self.run.state.ends() {
                return;
            }
            self.decide_for_a_person();
        }
        panic!("it never ends: {:?}", self.run);
    }

    fn decide_for_a_person(&mut self) {
        if self.run.state != RunState::Waiting {
            return;
        }
        let waits = self.run.steps.iter_mut().enumerate();
        for (index, step) in waits.filter(|(_, step)| step.state == StepState::Running) {
            step.verdict = self.plans[index].approval.map(|approved| Verdict {
                approved,
                by: "user:ben".into(),
                reason: None,
                at: self.now,
            });
        }
    }

    /// How the job stands by now: it ends, or it is run again by a person after it died.
    fn fact(&mut self) -> Option<Fact> {
        self.run.job?;
        let (made, deaths) = self.job.clone()?;
        let index = index(&made.told);
        let plan = self.plans[index];
        let dead = |maybe| Fact::Dead {
            code: "boom".into(),
            error: "it broke".into(),
            maybe,
        };
        if self.cut {
            let late = plan.end == End::Late;
            return Some(Fact::Cancelled {
                error: "it was cancelled".into(),
                maybe: late,
                until: late.then(|| self.now.plus_ms(1_000)),
            });
        }
        Some(match made.told.part {
            Part::Step if self.run.cancel.is_some() && plan.end != End::Done => {
                Fact::Open { maybe: false }
            }
            Part::Step => match plan.end {
                End::Done => {
                    self.effect(index);
                    Fact::Done {
                        output: json!({ "of": index }),
                    }
                }
                End::Refused => dead(false),
                End::LostDone => {
                    self.effect(index);
                    dead(true)
                }
                End::LostUndone => dead(true),
                End::Late => {
                    self.now = self.now.plus_ms(60_000);
                    Fact::Open { maybe: true }
                }
            },
            Part::Lookup => match plan.lookup {
                Some(true) => Fact::Done {
                    output: json!({ "done": plan.end == End::LostDone, "output": 1 }),
                },
                _ => dead(false),
            },
            Part::Compensation if deaths < plan.deaths => {
                self.job = Some((made, deaths + 1));
                dead(false)
            }
            Part::Compensation if deaths == plan.deaths && plan.deaths > 0 => {
                assert_eq!(self.run.state, RunState::Failed, "a person is needed");
                self.job = Some((made, deaths + 1));
                Fact::Open { maybe: false }
            }
            Part::Compensation => {
                self.standing.retain(|done| *done != index);
                self.undone.push(index);
                Fact::Done {
                    output: Value::Null,
                }
            }
        })
    }

    fn effect(&mut self, index: usize) {
        if !self.standing.contains(&index) {
            self.standing.push(index);
        }
    }
}

fn uuid(id: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(id)
}

fn index(told: &SagaTold) -> usize {
    let number = told.step.strip_prefix("step-").expect("a made-up name");
    number.parse().expect("a number")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_run_ends_with_all_of_it_done_or_with_all_undone_that_can_be_in_reverse_order(
        plans in prop::collection::vec(plan(), 1..8),
        cancel_at in prop::option::weighted(0.2, 0..12_usize),
    ) {
        let mut world = World::new(&plans);
        world.play(cancel_at);
        prop_assert!(world.run.finished_at.is_some());
        prop_assert!(world.run.job.is_none() && world.run.due_at.is_none());
        if world.run.state == RunState::Done {
            let tasks = (0..plans.len()).filter(|index| plans[*index].approval.is_none());
            prop_assert_eq!(&world.standing, &tasks.collect::<Vec<_>>());
            prop_assert!(world.undone.is_empty());
            let outputs = &world.run.data.as_ref().expect("its data").outputs;
            prop_assert_eq!(outputs.len(), plans.len());
        } else {
            // What is left standing is what nothing undoes.
            for left in &world.standing {
                prop_assert!(!plans[*left].compensation, "{left} was left");
            }
            let mut sorted = world.undone.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            sorted.dedup();
            prop_assert_eq!(&world.undone, &sorted, "in reverse order, each once");
            prop_assert!(world.run.error.is_some(), "it says why");
        }
        for step in &world.run.steps {
            let over = !matches!(step.state, StepState::Pending | StepState::Running | StepState::Compensating);
            prop_assert!(over, "{step:?}");
        }
    }

    #[test]
    fn every_step_can_be_the_one_that_fails_in_every_way(count in 1..6_usize, at in 0..6_usize, how in end(), lookup: Option<bool>) {
        let at = at % count;
        let fine = Plan { approval: None, end: End::Done, compensation: true, lookup: None, deaths: 0 };
        let mut plans = vec![fine; count];
        plans[at] = Plan { end: how, lookup, ..fine };
        let mut world = World::new(&plans);
        world.play(None);
        let found_done = how == End::LostDone && lookup == Some(true);
        if how == End::Done || found_done {
            prop_assert_eq!(world.run.state, RunState::Done);
        } else {
            prop_assert_eq!(world.run.state, RunState::Compensated);
            let asked_in_vain = lookup != Some(true);
            let uncertain = matches!(how, End::LostDone | End::LostUndone | End::Late) && asked_in_vain;
            let from = if uncertain { at + 1 } else { at };
            prop_assert_eq!(world.undone, (0..from).rev().collect::<Vec<_>>());
        }
    }
}

fn attempt(outcome: Outcome, category: Option<Category>, status: Option<i32>) -> Attempt {
    Attempt {
        tenant: TenantId::NIL,
        job: JobId::NIL,
        attempt: 1,
        tries: 1,
        queue: 1,
        outcome,
        started_at: NOW,
        finished_at: NOW,
        next_at: None,
        category,
        code: Some("code".into()),
        error: Some("it broke".into()),
        status,
        exchange: None,
        by: None,
    }
}

fn maybe(attempts: &[Attempt]) -> bool {
    match Fact::of(attempts, false, None) {
        Fact::Dead { maybe, .. } | Fact::Open { maybe } | Fact::Cancelled { maybe, .. } => maybe,
        Fact::Done { .. } => true,
    }
}

#[test]
fn an_answer_that_was_lost_leaves_the_outcome_open_and_a_refusal_does_not() {
    let dead = |category, status| attempt(Outcome::Dead, Some(category), status);
    assert!(!maybe(&[dead(Category::Validation, Some(422))]));
    assert!(!maybe(&[dead(Category::Provider, Some(404))]));
    assert!(
        !maybe(&[dead(Category::Conflict, None)]),
        "a worker says what it failed of"
    );
    assert!(
        maybe(&[dead(Category::Unknown, None)]),
        "a worker fell over something"
    );
    assert!(maybe(&[dead(Category::Timeout, None)]));
    assert!(maybe(&[dead(Category::Provider, Some(502))]));
    assert!(
        maybe(&[dead(Category::Network, None)]),
        "the connection broke"
    );
    let never_sent = Attempt {
        code: Some("connect_failed".into()),
        ..dead(Category::Network, None)
    };
    assert!(!maybe(&[never_sent]));
    let lost = attempt(Outcome::Lost, None, None);
    assert!(
        maybe(&[lost, dead(Category::Validation, Some(422))]),
        "a refusal proves nothing of the try before"
    );
    assert!(matches!(
        Fact::of(&[], true, None),
        Fact::Open { maybe: true }
    ));
    assert!(matches!(
        Fact::of(&[], false, None),
        Fact::Open { maybe: false }
    ));
    let ended = Attempt {
        by: Some("user:ben".into()),
        ..attempt(Outcome::Cancelled, None, None)
    };
    assert!(!maybe(std::slice::from_ref(&ended)), "nothing had begun");
    let under_way = Fact::of(&[ended], false, Some(NOW));
    assert!(matches!(under_way, Fact::Cancelled { maybe: true, .. }));
}

#[test]
fn what_was_under_way_when_its_job_was_ended_is_undone_once_it_can_be_over() {
    for lookup in [None, Some(false)] {
        let plans = [Plan {
            approval: None,
            end: End::Done,
            compensation: true,
            lookup,
            deaths: 0,
        }];
        let mut world = World::new(&plans);
        world.look(None);
        let until = NOW.plus_ms(15_000);
        let ended = Fact::Cancelled {
            error: "by hand".into(),
            maybe: true,
            until: Some(until),
        };
        let decision = world.decide(Some(&ended), 9).expect("it goes on");
        let made = decision.made.expect("a job");
        let part = lookup.map_or(Part::Compensation, |_| Part::Lookup);
        assert_eq!((made.told.part, made.run_at), (part, Some(until)));
    }
}

#[test]
fn a_look_up_that_nobody_answers_is_given_up_in_its_time_and_not_before_even_for_a_run_that_is_cancelled()
 {
    let plans = [Plan {
        approval: None,
        end: End::LostDone,
        compensation: true,
        lookup: Some(true),
        deaths: 0,
    }];
    let day = 86_400_000;
    for (timeout_ms, waits_ms) in [(Some(60_000), 60_000), (None, day)] {
        for cancelled in [false, true] {
            let mut world = World::new(&plans);
            let Does::Task(task) = &mut world.definition.steps[0].does else {
                panic!("a task");
            };
            task.timeout_ms = timeout_ms;
            world.look(None);
            let fact = world.fact();
            world.look(fact.as_ref());
            assert_eq!(world.run.steps[0].state, StepState::Unknown);
            world.run.cancel = cancelled.then(|| Cancel {
                by: "user:ben".into(),
                reason: None,
                at: NOW,
            });
            let open = Fact::Open { maybe: false };
            let until = NOW.plus_ms(waits_ms);
            assert_eq!(world.run.due_at, Some(until));
            world.now = until.plus_ms(-1);
            assert_eq!(
                world.decide(Some(&open), 9),
                None,
                "the answer may still come"
            );
            world.now = until;
            world.look(Some(&open));
            assert!(world.cut, "what is asked in vain is asked no more");
            let fact = world.fact();
            world.look(fact.as_ref());
            assert_eq!(world.run.state, RunState::Compensating);
        }
    }
}

#[test]
fn a_cancelled_run_undoes_nothing_that_a_look_up_says_was_never_done() {
    for done in [false, true] {
        let plans = [Plan {
            approval: None,
            end: if done { End::LostDone } else { End::LostUndone },
            compensation: true,
            lookup: Some(true),
            deaths: 0,
        }];
        let mut world = World::new(&plans);
        world.look(None);
        let fact = world.fact();
        world.look(fact.as_ref());
        world.play(Some(0));
        assert_eq!(world.run.state, RunState::Compensated);
        let undone = if done { vec![0] } else { vec![] };
        assert_eq!(world.undone, undone);
    }
}

#[test]
fn what_came_of_a_job_is_what_its_worker_says_or_what_its_endpoint_answers_in_json() {
    let output = |exchange: Value| {
        let done = Attempt {
            exchange: Some(exchange.to_string()),
            ..attempt(Outcome::Succeeded, None, None)
        };
        match Fact::of(&[done], false, None) {
            Fact::Done { output } => output,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        output(json!({ "worker": "w", "result": { "id": 1 } })),
        json!({ "id": 1 })
    );
    let answer = |text: &str| json!({ "response": { "status": 200, "excerpt": text } });
    assert_eq!(output(answer("{\"id\":2}")), json!({ "id": 2 }));
    assert_eq!(output(answer("ok, thanks")), Value::Null);
    assert_eq!(
        output(answer(&format!("\"{}\"", "x".repeat(70_000)))),
        Value::Null
    );
}

#[test]
fn an_input_is_made_of_what_is_known_and_of_nothing_else() {
    let known = json!({ "input": { "amount": 7 }, "steps": { "charge": { "id": "ch_1" } } });
    let template =
        json!({ "id": { "$": "/steps/charge/id" }, "all": [{ "$": "/input" }], "$x": 1 });
    let made = render(&template, &known, Missing::Fail).expect("all of it is there");
    assert_eq!(
        made,
        json!({ "id": "ch_1", "all": [{ "amount": 7 }], "$x": 1 })
    );
    let absent = json!({ "$": "/steps/refund" });
    let refused = render(&absent, &known, Missing::Fail);
    assert_eq!(refused, Err(InputError::Missing("/steps/refund".into())));
    assert_eq!(render(&absent, &known, Missing::Null), Ok(Value::Null));
    let large = json!({ "input": "x".repeat(60_000) });
    let many = Value::Array(vec![json!({ "$": "/input" }); 100]);
    assert_eq!(
        render(&many, &large, Missing::Fail),
        Err(InputError::TooLarge)
    );
}

#[test]
fn a_definition_refers_only_to_what_is_known_by_then() {
    let step = |name: &str, template: Value| Step {
        name: name.into(),
        does: Does::Task(Box::new(Task {
            action: Action {
                input: Some(template),
                ..action("do")
            },
            timeout_ms: None,
            compensation: Some(Action {
                input: Some(json!({ "$": format!("/steps/{name}/id") })),
                ..action("undo")
            }),
            lookup: None,
        })),
    };
    let check = |steps: Vec<Step>| Definition { steps }.check().map_err(|error| error.pointer);
    let first = step("a", json!({ "$": "/input/x" }));
    assert_eq!(
        check(vec![
            first.clone(),
            step("b", json!([{ "$": "/steps/a/id" }]))
        ]),
        Ok(())
    );
    let at = |index: usize| Err(format!("/steps/{index}/input"));
    assert_eq!(
        check(vec![first.clone(), step("b", json!({ "$": "/steps/b" }))]),
        at(1)
    );
    assert_eq!(check(vec![step("a", json!({ "$": "/nobody" }))]), at(0));
    assert_eq!(check(vec![step("a", json!({ "$": 7 }))]), at(0));
    assert_eq!(
        check(vec![first.clone(), first]),
        Err("/steps/1/name".into())
    );
    assert_eq!(check(vec![]), Err("/steps".into()));
}
