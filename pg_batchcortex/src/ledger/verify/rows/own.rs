//! Rows of the project's own tables, hashed by this process and by parallel workers.

use super::Hashed;
use super::digest::Digest;
use super::helpers::{Helpers, Sent};
use super::work::Work;
use crate::ledger::key::Key;
use pgrx::prelude::*;

/// Rows of one log, in no order that anybody may rely on.
pub struct Own {
    work: Work,
    helpers: Option<Helpers>,
    /// The task to be taken next, where no helper takes any.
    next: u64,
    done: u64,
}

impl Own {
    /// Nothing is read yet. `parallel`: whether row security leaves the caller every row; its
    /// policies ask for what this process knows of the caller, and helpers do not.
    pub fn open(work: Work, parallel: bool) -> Self {
        Own {
            helpers: parallel.then(|| Helpers::launch(&work)).flatten(),
            work,
            next: 0,
            done: 0,
        }
    }

    /// Parallel workers that were started.
    pub fn workers(&self) -> usize {
        self.helpers.as_ref().map_or(0, Helpers::count)
    }

    /// The relations that rows come from.
    pub fn relations(&self) -> Vec<u32> {
        self.work.relations().collect()
    }

    /// Calls `body` with some more rows; false when there are none.
    pub fn next(&mut self, mut body: impl FnMut(u32, Hashed)) -> bool {
        let mut body = |relation, digest: Digest| {
            body(
                relation,
                Hashed {
                    key: Key::Uuid(digest.key),
                    leaf: digest.leaf,
                    agrees: digest.agrees,
                    timely: digest.timely,
                },
            );
        };
        loop {
            if self.done == self.work.tasks() {
                return false;
            }
            let sent = match &mut self.helpers {
                Some(helpers) => helpers.receive(&mut body),
                None => Sent::Nothing,
            };
            match sent {
                Sent::Rows => return true,
                Sent::Done => {
                    self.done += 1;
                    continue;
                }
                Sent::Nothing => {}
            }
            if let Some(task) = self.claim() {
                self.work.run(task, &mut body);
                self.done += 1;
                return true;
            }
            match &mut self.helpers {
                Some(helpers) => helpers.wait(),
                None => error!("a task of the verification was lost"),
            }
        }
    }

    fn claim(&mut self) -> Option<u64> {
        let task = match &self.helpers {
            Some(helpers) => helpers.claim(),
            None => {
                self.next += 1;
                self.next - 1
            }
        };
        (task < self.work.tasks()).then_some(task)
    }

    /// Ends the reading; all rows were taken.
    pub fn close(self) {
        if let Some(helpers) = self.helpers {
            helpers.close();
        }
    }
}
