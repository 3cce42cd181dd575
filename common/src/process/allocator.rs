//! How the system's allocator keeps what was freed. Left to itself glibc makes an arena for nearly each thread,
//! and each keeps what it once needed: half of a busy master's memory was of no use to it.

/// How many arenas there are at most. Threads that find theirs taken wait for it, which with their own small
/// caches before it is rare.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MOST_ARENAS: usize = 4;

/// From which size on a piece is the system's own, and goes back to it as soon as it is freed. Said here it
/// stays so: else it grows with each such piece that is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_PIECE: i32 = 256 << 10;

/// How much may lie unused at the end of an arena.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const UNUSED_END: i32 = 1 << 20;

/// Has the allocator give back what is not needed. To be called before there are threads: an arena that
/// there is stays.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn limit_malloc_arenas() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let arenas = i32::try_from(cores.min(MOST_ARENAS)).unwrap_or(1);
    set(libc::M_ARENA_MAX, arenas);
    set(libc::M_MMAP_THRESHOLD, OWN_PIECE);
    set(libc::M_TRIM_THRESHOLD, UNUSED_END);
}

/// Other allocators have other ways.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn limit_malloc_arenas() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate in use has a call for it")]
fn set(parameter: libc::c_int, value: libc::c_int) {
    // SAFETY: takes two numbers and changes settings under the allocator's own lock. One that it refuses
    // stays as it was, which costs only memory.
    unsafe {
        libc::mallopt(parameter, value);
    }
}
