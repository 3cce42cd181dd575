//! What a batch finds in its environment, and the shell text that makes a batch of one atom.

/// The variable with the path of the file that has the values of a batch's atoms, one a line.
pub const ATOMS_FILE: &str = "ATOMS_FILE";

/// The variable with the same values, separated by ends of lines.
pub const ATOMS: &str = "ATOMS";

/// The variable with the number of atoms in a batch.
pub const BATCH_SIZE: &str = "BATCH_SIZE";

/// The command that runs one atom of a job that has only a command for batches: a batch of one. The shell itself writes
/// the file, so that slaves need not know of batches.
pub(super) fn of_one(variable: &str, batch_command: &str) -> String {
    format!(
        "export {ATOMS}=\"${variable}\" {BATCH_SIZE}=1 {ATOMS_FILE}=\"$ARTIFACT_DIR/.atoms\" && printf '%s\\n' \"${ATOMS}\" \
         > \"${ATOMS_FILE}\" && trap 'rm -f -- \"$ARTIFACT_DIR/.atoms\"' EXIT && {batch_command}"
    )
}
