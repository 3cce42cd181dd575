//! Mutexes whose value is good even if a thread panicked while it held it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it, also after a panic: nothing here is left half changed by one.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
