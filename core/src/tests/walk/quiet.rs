//! Walks that fail without a word, so that hundreds can be tried in the search for the smallest.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `walk`; what its panic said and where, if it did. Other threads' panics are told as ever.
pub(super) fn caught<T>(walk: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if IS_QUIET.get() {
                LAST_WORDS.set(panic.to_string());
            } else {
                before(panic);
            }
        }));
    });
    let was_quiet = IS_QUIET.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(walk));
    IS_QUIET.set(was_quiet);
    done.map_err(|_| LAST_WORDS.take())
}
