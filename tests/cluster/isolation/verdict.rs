//! The first process behind the walls says how its command has ended, also where the command is the same user.

use super::cells::IN;
use super::settings::{NO_LIMITS, without_rights};
use crate::job::job;
use crate::processes;
use crate::wait::wait_for;

/// What `ptrace` is asked for.
const SEIZE: u32 = 0x4206;

#[tokio::test]
async fn a_command_can_not_say_how_it_has_ended() {
    let Some(farm) = without_rights(NO_LIMITS).await else {
        return;
    };
    // That it has succeeded, and that it was not even started.
    for word in ["E\\1\\0\\0\\0\\0", "Fforged\\0"] {
        let forges = format!(
            "python3 -c '
import os
for number in range(3, 30):
    try: os.write(os.open(f\"/proc/1/fd/{{number}}\", os.O_WRONLY), b\"{word}\")
    except OSError: pass
'; exit 5"
        );
        farm.runs(&job(forges).atoms(1)).await.fails(&[(1, 5)]);
    }
    let traces = format!(
        "python3 -c '
import ctypes
none = ctypes.c_long(0)
print(\"{IN}\" if ctypes.CDLL(None).ptrace({SEIZE}, 1, none, none) == 0 else \"kept\")'"
    );
    let build = farm.runs(&job(traces).atoms(1)).await.passes();
    assert_eq!(farm.consoles(build.id).await, ["kept\n"]);
    farm.wait_for_rest().await;
}

/// The slave finds the first process, and with it ends what has left its session and its environment.
#[tokio::test]
async fn what_a_command_leaves_ends_with_the_first_process() {
    let Some(farm) = without_rights(NO_LIMITS).await else {
        return;
    };
    let sleep = format!("sleep 95{}", farm.port());
    let leaves = format!("(setsid env -i {sleep} < /dev/null > /dev/null 2>&1 &)");
    farm.runs(&job(leaves).atoms(1)).await.passes();
    farm.wait_for_rest().await;
    let text = sleep.replace(' ', "\0");
    wait_for("nothing is left", async || {
        processes::with_text(&text).is_empty().then_some(())
    })
    .await;
}
