//! Faults that are injected when a count, or the time, has come so far.

use std::{collections::VecDeque, ops::Add};

use crate::fault::Action;

/// When a fault is injected: at a point, and perhaps again and again with so much between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When<T> {
    at: T,
    again: Option<T>,
}

impl<T> When<T> {
    pub(crate) fn once(at: T) -> Self {
        Self { at, again: None }
    }
}

impl When<u64> {
    /// 0 would be all the time, and is taken for 1.
    pub(crate) fn every(step: u64) -> Self {
        let step = step.max(1);
        Self { at: step, again: Some(step) }
    }
}

/// The faults that are still to be injected, the next first.
#[derive(Debug)]
pub(crate) struct Points<T>(VecDeque<(When<T>, Action)>);

impl<T: Ord + Copy + Add<Output = T>> Points<T> {
    pub(crate) fn new(points: impl Iterator<Item = (When<T>, Action)>) -> Self {
        let mut all = Self(VecDeque::new());
        points.for_each(|(when, action)| all.add(when, action));
        all
    }

    /// Behind those that are injected at the same point.
    fn add(&mut self, when: When<T>, action: Action) {
        let index = self.0.partition_point(|(other, _)| other.at <= when.at);
        self.0.insert(index, (when, action));
    }

    /// When the next one is injected.
    pub(crate) fn next(&self) -> Option<T> {
        self.0.front().map(|(when, _)| when.at)
    }

    /// Takes the next one, if it has come to that.
    pub(crate) fn due(&mut self, now: T) -> Option<Action> {
        if self.next()? > now {
            return None;
        }
        let (when, action) = self.0.pop_front()?;
        if let Some(step) = when.again {
            self.add(When { at: when.at + step, ..when }, action.clone());
        }
        Some(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_and_again_in_order() {
        let points = [
            (When::once(5), Action::Cut),
            (When::every(2), Action::Reset),
            (When::once(2), Action::Hang),
        ];
        let mut points = Points::new(points.into_iter());
        assert_eq!((points.next(), points.due(1)), (Some(2), None));
        assert_eq!(points.due(2), Some(Action::Reset));
        assert_eq!(points.due(2), Some(Action::Hang));
        assert_eq!(points.due(2), None);
        assert_eq!(points.due(6), Some(Action::Reset), "of 4");
        assert_eq!(points.due(6), Some(Action::Cut), "of 5");
        assert_eq!(points.due(6), Some(Action::Reset), "of 6");
        assert_eq!((points.due(6), points.next()), (None, Some(8)));
        assert_eq!(Points::<u64>::new([(When::every(0), Action::Cut)].into_iter()).next(), Some(1));
    }
}
