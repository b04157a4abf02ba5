//! The queues' settings: asked for when they may have changed and when a queue turns up that has none.

use mainstay_domain::jobs::QueueNumber;

use super::{
    Machine,
    queue::Queue,
    words::{Action, QueueSettings},
};

/// Requests for settings.
#[derive(Debug, Default)]
pub(super) struct Configuring {
    /// The version of the configuration that the settings come from.
    pub(super) version: i64,
    /// Whether there was any answer.
    pub(super) known: bool,
    /// The number of the last request.
    asked: u64,
    /// Whether it is unanswered.
    flying: bool,
    /// Whether some queue has none, and no request that could tell is under way.
    wanted: bool,
}

impl Machine {
    /// A queue, made when it is new. What it may do is unknown until an answer to a request made after now.
    pub(super) fn queue(&mut self, number: QueueNumber) -> &mut Queue {
        self.touched.insert(number);
        let inheriting = !self.all_lost_are_known();
        self.queues.entry(number).or_insert_with(|| {
            self.configuring.wanted = true;
            Queue::unknown(self.configuring.asked + 1, self.since, inheriting)
        })
    }

    pub(super) fn configure(&mut self, out: &mut Vec<Action>) {
        let configuring = &mut self.configuring;
        if configuring.wanted && !configuring.flying {
            configuring.asked += 1;
            configuring.flying = true;
            configuring.wanted = false;
            let request = configuring.asked;
            out.push(Action::Configure { request });
        }
    }

    pub(super) fn configure_failed(&mut self, request: u64) {
        self.outage.failed(self.now, &self.limits);
        if request == self.configuring.asked {
            self.configuring.flying = false;
            self.configuring.wanted = true;
        }
    }

    /// New settings, asked for by us (`request`) or found by the driver (an older number).
    pub(super) fn configured(
        &mut self,
        request: u64,
        version: i64,
        queues: Vec<(QueueNumber, QueueSettings)>,
    ) {
        if request == self.configuring.asked {
            self.configuring.flying = false;
        }
        if version < self.configuring.version {
            // Overtaken on its way. What it knows of new queues is asked for once more.
            self.configuring.wanted = true;
            return;
        }
        self.configuring.version = version;
        self.configuring.known = true;
        let mut named = std::collections::BTreeSet::new();
        for (number, settings) in queues {
            named.insert(number);
            let now = self.now;
            let held_back = self.queue(number).set(settings, now);
            self.hold_back(held_back);
        }
        for (number, queue) in &mut self.queues {
            if named.contains(number) {
                continue;
            }
            if queue.settings_request <= request {
                // It drains nothing, so nothing is held back.
                queue.set(QueueSettings::orphaned(), self.now);
            } else if queue.settings.is_none() {
                self.configuring.wanted = true;
            }
            self.touched.insert(*number);
        }
    }
}
