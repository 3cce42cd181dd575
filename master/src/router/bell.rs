//! What wakes the task that drives a connection.

use futures_util::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

/// Wakes a task, but not while the task itself drives the connection: it looks at the end whether it was called.
///
/// A task that is woken while it runs comes round once more, which may wake another thread, too. The HTTP library wakes
/// the driver of a connection for each step of a request.
#[derive(Debug, Default)]
pub(super) struct Bell {
    task: AtomicWaker,
    is_driven: AtomicBool,
    has_rung: AtomicBool,
}

impl Bell {
    /// The task of this waker begins to drive.
    pub(super) fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.is_driven.store(true, Ordering::SeqCst);
    }

    /// Whether there was a call since the last question.
    pub(super) fn has_rung(&self) -> bool {
        self.has_rung.swap(false, Ordering::SeqCst)
    }

    /// The task drives no longer. Whether there was a call that did not wake it.
    pub(super) fn end(&self) -> bool {
        self.is_driven.store(false, Ordering::SeqCst);
        self.has_rung()
    }

    /// From now on there is no task to wake.
    pub(super) fn forget(&self) {
        drop(self.task.take());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order, as `end` has the opposite one: either of them sees the other.
        self.has_rung.store(true, Ordering::SeqCst);
        if !self.is_driven.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_that_drives_is_not_woken_but_learns_of_the_call() {
        let (task, bell) = (Arc::new(Task::default()), Arc::new(Bell::default()));
        let woken = || task.0.load(Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&bell));
        bell.begin(&Waker::from(Arc::clone(&task)));
        assert!(!bell.end());
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        bell.begin(&Waker::from(Arc::clone(&task)));
        assert!(bell.has_rung() && !bell.has_rung());
        waker.wake_by_ref();
        assert!(bell.end());
        assert_eq!(woken(), 1);
        bell.forget();
        waker.wake();
        assert_eq!(woken(), 1);
    }
}
