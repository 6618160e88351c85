//! The threads that help with the tasks of one caller at a time.
//!
//! Work comes in pieces of some 10 µs, many thousands a second, so that threads spin a while before they sleep, and nobody
//! waits for a thread that is late: a caller closes the gate when its tasks are taken, and waits only for helpers that are inside.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::hint;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Turns that a helper waits for work before it sleeps, some 500 µs: longer than what a step of a language model does between
/// two products, and than a caller takes from one step to the next.
const TURNS_BEFORE_SLEEP: u32 = if cfg!(target_arch = "wasm32") { 100_000 } else { 10_000 };

/// Set in [`Pool::gate`] while helpers may enter; the bits below count those inside.
const OPEN: u32 = 1 << 31;

/// What caller and helpers run together.
type Work = dyn Fn() + Sync;

static POOL: Pool = Pool::new();

struct Pool {
    helpers: AtomicUsize,
    /// Held by the one caller that has the helpers.
    calling: Mutex<()>,
    gate: AtomicU32,
    /// Written by the caller while the gate is shut and nobody inside; read by helpers inside.
    work: UnsafeCell<Option<*const Work>>,
    /// Counts what was ever posted.
    posted: AtomicU32,
    sleeping: AtomicU32,
    sleep: Mutex<()>,
    wake: Condvar,
    /// Whether a helper failed in the work at hand.
    failed: AtomicBool,
}

// SAFETY: all fields are made for several threads but `work`, whose contract stands beside it.
unsafe impl Sync for Pool {}
// SAFETY: `work` points to what is `Sync`; nothing else belongs to a thread.
unsafe impl Send for Pool {}

/// Threads that compute, the caller among them.
pub fn threads() -> usize {
    // Without atomics there are no helpers, which a build shall know.
    if cfg!(all(target_arch = "wasm32", not(target_feature = "atomics"))) {
        return 1;
    }
    // A system that refuses threads leaves those that there are.
    #[cfg(not(target_arch = "wasm32"))]
    let _ = start(None);
    POOL.helpers.load(Ordering::Relaxed) + 1
}

/// Makes the calling thread a helper, for ever. If it traps, its caller waits for ever: whoever started the threads has to end them.
#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
pub fn help() -> ! {
    POOL.help()
}

/// Starts helpers, unless there are some: `threads` in all, or as many as the machine has.
///
/// # Errors
/// When the system refuses a thread.
#[cfg(not(target_arch = "wasm32"))]
pub fn start(threads: Option<usize>) -> std::io::Result<()> {
    static START: Once = Once::new();
    let mut outcome = Ok(());
    START.call_once(|| outcome = spawn(threads));
    outcome
}

#[cfg(not(target_arch = "wasm32"))]
fn spawn(threads: Option<usize>) -> std::io::Result<()> {
    let threads = match threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism()?.get(),
    };
    for number in 1..threads {
        std::thread::Builder::new().name(format!("kernels {number}")).spawn(|| POOL.help())?;
        POOL.helpers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Runs `work` on this thread and on every helper that comes before this one is done with it, and returns when all have left.
/// Where the helpers have another caller, this thread is alone.
///
/// # Panics
/// When `work` does, on any thread.
pub(super) fn share(work: &(dyn Fn() + Sync)) {
    POOL.share(work);
}

impl Pool {
    const fn new() -> Pool {
        Pool {
            helpers: AtomicUsize::new(0),
            calling: Mutex::new(()),
            gate: AtomicU32::new(0),
            work: UnsafeCell::new(None),
            posted: AtomicU32::new(0),
            sleeping: AtomicU32::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            failed: AtomicBool::new(false),
        }
    }

    fn share(&self, work: &(dyn Fn() + Sync)) {
        let Ok(_calling) = self.calling.try_lock() else { return work() };
        self.failed.store(false, Ordering::Relaxed);
        // SAFETY: the gate is shut and nobody inside, since whoever opens it holds `calling` until that is so again; the
        // lifetime may be left out because `closing` keeps this function from ending before the last helper has left.
        unsafe { *self.work.get() = Some(std::mem::transmute::<*const (dyn Fn() + Sync + '_), *const Work>(work)) };
        let closing = Closing(self);
        self.gate.store(OPEN, Ordering::Release);
        self.posted.fetch_add(1, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(self.sleep.lock());
            self.wake.notify_all();
        }
        work();
        drop(closing);
        assert!(!self.failed.load(Ordering::Relaxed), "a helping thread failed");
    }

    fn help(&self) -> ! {
        // What is being done when this one comes is not too late for it.
        let mut seen = self.posted.load(Ordering::Acquire).wrapping_sub(1);
        #[cfg(target_arch = "wasm32")]
        self.helpers.fetch_add(1, Ordering::Relaxed);
        loop {
            seen = self.wait_for_post(seen);
            if self.enter() {
                // SAFETY: inside the gate nobody writes it.
                let work = unsafe { *self.work.get() };
                let run = || {
                    if let Some(work) = work {
                        // SAFETY: the caller keeps the work alive until this helper has left.
                        unsafe { (*work)() }
                    }
                };
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                    self.failed.store(true, Ordering::Relaxed);
                }
                self.gate.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Waits until something was posted after number `seen`; gives the number then.
    fn wait_for_post(&self, seen: u32) -> u32 {
        for _ in 0..TURNS_BEFORE_SLEEP {
            let posted = self.posted.load(Ordering::Acquire);
            if posted != seen {
                return posted;
            }
            pause();
        }
        let mut sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        while self.posted.load(Ordering::SeqCst) == seen {
            sleep = self.wake.wait(sleep).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        self.posted.load(Ordering::Acquire)
    }

    /// Whether the gate was open.
    fn enter(&self) -> bool {
        let inside = |gate: u32| (gate & OPEN != 0).then_some(gate + 1);
        self.gate.fetch_update(Ordering::Acquire, Ordering::Relaxed, inside).is_ok()
    }
}

/// Rests between two looks at what another thread is to write: to one who never rests, processors give a cache line so often that
/// whoever writes it takes microseconds longer.
#[inline(always)]
fn pause() {
    if cfg!(target_arch = "wasm32") {
        // There is no instruction for it. Multiplications that wait for each other are enough.
        let factor = hint::black_box(3u64);
        hint::black_box(factor.wrapping_mul(factor).wrapping_mul(factor).wrapping_mul(factor));
    } else {
        hint::spin_loop();
    }
}

/// Shuts the gate, and waits for the helpers inside.
struct Closing<'a>(&'a Pool);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_and(!OPEN, Ordering::Relaxed);
        while self.0.gate.load(Ordering::Acquire) != 0 {
            pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> &'static Pool {
        let pool = Box::leak(Box::new(Pool::new()));
        for _ in 0..3 {
            std::thread::spawn(|| pool.help());
        }
        pool
    }

    /// Takes every number below `count` once.
    fn taken(pool: &Pool, count: usize, pause: std::time::Duration) -> Vec<usize> {
        let (next, taken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        pool.share(&|| {
            while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count) {
                std::thread::sleep(pause);
                taken.lock().unwrap().push(number);
            }
        });
        let mut taken = taken.into_inner().unwrap();
        taken.sort_unstable();
        taken
    }

    #[test]
    fn every_task_runs_once_awake_and_asleep() {
        let pool = pool();
        for round in 0..2_000 {
            assert_eq!(taken(pool, 7, std::time::Duration::ZERO), (0..7).collect::<Vec<_>>());
            if round % 100 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }

    /// Waits for something that comes soon.
    fn wait_for(condition: impl Fn() -> bool) {
        let started = std::time::Instant::now();
        while !condition() {
            assert!(started.elapsed() < std::time::Duration::from_secs(30), "it never came");
            std::thread::yield_now();
        }
    }

    #[test]
    fn all_helpers_help() {
        let pool = pool();
        for _ in 0..100 {
            let inside = AtomicUsize::new(0);
            pool.share(&|| {
                inside.fetch_add(1, Ordering::SeqCst);
                wait_for(|| inside.load(Ordering::SeqCst) == 4);
            });
        }
    }

    #[test]
    fn callers_share_the_pool_and_a_task_may_share_again() {
        let pool = pool();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.share(&|| assert_eq!(taken(pool, 5, std::time::Duration::ZERO).len(), 5));
                    }
                });
            }
        });
    }

    #[test]
    fn a_failure_of_any_thread_reaches_the_caller_and_the_pool_goes_on() {
        let pool = pool();
        let caller = std::thread::current().id();
        for fails_here in [true, false] {
            let inside = AtomicUsize::new(0);
            let work = || {
                inside.fetch_add(1, Ordering::SeqCst);
                wait_for(|| inside.load(Ordering::SeqCst) > 1);
                assert!((std::thread::current().id() == caller) != fails_here, "on purpose");
            };
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.share(&work)));
            assert!(outcome.is_err(), "{fails_here}");
            assert_eq!(taken(pool, 20, std::time::Duration::from_micros(10)).len(), 20);
        }
    }
}
