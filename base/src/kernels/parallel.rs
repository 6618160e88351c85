//! Spreading independent tasks over threads, and writing one buffer from all of them.
#![allow(unsafe_code)]

use super::pool;
use std::array::from_fn;
use std::iter::repeat_with;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Multiply-adds from which on it pays to share them.
const WORTH_SHARING: usize = 1 << 18;

/// Runs `task(scratch, index)` for every index below `count`. `work` (multiply-adds of all tasks together) decides whether the
/// threads of the pool share them; each thread then has its own scratch.
pub(super) fn for_each<Scratch>(
    count: usize,
    work: usize,
    scratch: impl Fn() -> Scratch + Sync,
    task: impl Fn(&mut Scratch, usize) + Sync,
) {
    if count < 2 || work < WORTH_SHARING || pool::threads() < 2 {
        return run_in_order(count, scratch, task);
    }
    let runs = Runs::new(count, pool::threads());
    pool::share(&|| {
        let mut own = None;
        runs.take(|index| task(own.get_or_insert_with(&scratch), index));
    });
}

/// Most runs that tasks are cut into; of more threads, some begin together.
const MOST_RUNS: usize = 16;

/// Tasks that threads share. Each begins with a run of its own, in order, and then helps with the others': what tasks read often lies
/// side by side, and memory comes faster the longer a thread goes on where it was.
struct Runs {
    count: usize,
    runs: usize,
    /// Threads that have come.
    came: AtomicUsize,
    /// Of each run the tasks that were taken, and how often nothing was left.
    taken: [AtomicUsize; MOST_RUNS],
}

impl Runs {
    fn new(count: usize, threads: usize) -> Runs {
        let taken = [const { AtomicUsize::new(0) }; MOST_RUNS];
        Runs { count, runs: threads.clamp(1, MOST_RUNS), came: AtomicUsize::new(0), taken }
    }

    /// The first task of a run: the first runs have one more where they cannot all have as many.
    fn start(&self, run: usize) -> usize {
        self.count / self.runs * run + run.min(self.count % self.runs)
    }

    /// Takes tasks until none is left.
    fn take(&self, mut task: impl FnMut(usize)) {
        let own = self.came.fetch_add(1, Ordering::Relaxed);
        for run in (own..own + self.runs).map(|run| run % self.runs) {
            let [start, end] = [run, run + 1].map(|run| self.start(run));
            let next = || start + self.taken[run].fetch_add(1, Ordering::Relaxed);
            repeat_with(next).take_while(|index| *index < end).for_each(&mut task);
        }
    }
}

fn run_in_order<Scratch>(count: usize, scratch: impl Fn() -> Scratch, task: impl Fn(&mut Scratch, usize)) {
    if count > 0 {
        let mut scratch = scratch();
        (0..count).for_each(|index| task(&mut scratch, index));
    }
}

/// A buffer that several tasks write at the same time, each its own elements.
pub(super) struct SharedOutput<'a, T = f32> {
    start: *mut T,
    len: usize,
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: the buffer is borrowed mutably for as long as this lives, and whoever calls `slice` promises that no two live
// slices share an element.
unsafe impl<T: Send> Sync for SharedOutput<'_, T> {}
// SAFETY: as for `Sync`; there is nothing in it that belongs to one thread.
unsafe impl<T: Send> Send for SharedOutput<'_, T> {}

impl<'a, T> SharedOutput<'a, T> {
    /// Shares a buffer.
    pub(super) fn new(buffer: &'a mut [T]) -> SharedOutput<'a, T> {
        SharedOutput { start: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// Elements `start..start + len`.
    ///
    /// # Panics
    /// When they are not all inside the buffer.
    ///
    /// # Safety
    /// As long as the slice lives, no other slice of this buffer may share an element with it.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: inside the buffer, as just asserted; not aliased, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// `count` rows of `COLUMNS` elements, the first from `start` on, `stride` elements from one to the next.
    ///
    /// # Panics
    /// When they are not all inside the buffer, or share elements.
    ///
    /// # Safety
    /// As long as the rows live, no one else may use their elements.
    pub(super) unsafe fn rows<const COLUMNS: usize>(
        &self,
        start: usize,
        count: usize,
        stride: usize,
    ) -> SharedRows<'_, T, COLUMNS> {
        assert!(count < 2 || COLUMNS <= stride, "rows share no element");
        let from_first = |last: usize| last.checked_mul(stride)?.checked_add(start)?.checked_add(COLUMNS);
        let end = if count == 0 { Some(start) } else { from_first(count - 1) };
        assert!(end.is_some_and(|end| end <= self.len), "rows are inside the buffer");
        SharedRows { start: self.start.wrapping_add(start), count, stride, buffer: PhantomData }
    }
}

/// Rows of a [`SharedOutput`].
pub(super) struct SharedRows<'a, T, const COLUMNS: usize> {
    start: *mut T,
    count: usize,
    stride: usize,
    buffer: PhantomData<&'a mut [T]>,
}

impl<T, const COLUMNS: usize> SharedRows<'_, T, COLUMNS> {
    /// Rows `first..first + ROWS`.
    ///
    /// # Panics
    /// When they are not all there.
    #[inline(always)]
    pub(super) fn some<const ROWS: usize>(&mut self, first: usize) -> [&mut [T; COLUMNS]; ROWS] {
        assert!(first <= self.count && ROWS <= self.count - first, "the rows are there");
        let start = self.start.wrapping_add(first * self.stride);
        // SAFETY: inside the buffer and apart, as asserted when these were made, and nobody else's, as was promised then.
        from_fn(|row| unsafe { &mut *start.wrapping_add(row * self.stride).cast() })
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;

    /// Every task runs once, whether they are spread or not, and each writes its own elements.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = Vec::new();
        for (count, work) in [(0, usize::MAX), (1, usize::MAX), (2, usize::MAX), (1000, 0), (1000, usize::MAX)] {
            let mut buffer = vec![0.0; 2 * count];
            let shared = SharedOutput::new(&mut buffer);
            for_each(
                count,
                work,
                || 0.5,
                |half, task| {
                    // SAFETY: each task has its own two elements.
                    let own = unsafe { shared.slice(2 * task, 2) };
                    own[0] += task as f32;
                    own[1] += task as f32 + *half;
                },
            );
            let expected: Vec<f32> = (0..2 * count).map(|half| half as f32 / 2.0).collect();
            if buffer != expected {
                failures.push(format!("{count} tasks of work {work} do not each run once"));
            }
        }
        failures
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    #[test]
    fn a_thread_begins_with_a_run_of_its_own() {
        for (count, threads, expected) in [
            (0, 2, vec![]),
            (5, 1, vec![1, 2, 3, 4]),
            (5, 2, vec![3, 4, 1, 2]),
            (2, 3, vec![1]),
            (3 * MOST_RUNS, MOST_RUNS + 1, (3..3 * MOST_RUNS).chain([1, 2]).collect()),
        ] {
            let (runs, mut first, mut second) = (Runs::new(count, threads), vec![], vec![]);
            runs.take(|index| {
                first.push(index);
                // The other thread comes now, and is faster.
                runs.take(|index| second.push(index));
            });
            assert_eq!((first, second), ((0..count.min(1)).collect(), expected), "{count} tasks, {threads} threads");
        }
    }

    #[test]
    fn rows_lie_apart_and_inside_the_buffer() {
        // Start, rows and stride; the first that are taken.
        for ([start, count, stride, first], expected) in [
            ([1, 3, 4, 0], Some([1, 5])),
            ([0, 3, 4, 1], Some([4, 8])),
            ([2, 3, 4, 1], None),
            ([0, 3, 4, 2], None),
            ([0, 2, 1, 0], None),
            ([3, 1, 0, 0], None),
            ([12, 0, 4, 0], None),
            ([1, usize::MAX, usize::MAX, 0], None),
        ] {
            let mut buffer: Vec<usize> = (0..11).collect();
            let shared = SharedOutput::new(&mut buffer);
            // SAFETY: the rows are the only ones.
            let take = || unsafe { shared.rows::<2>(start, count, stride) }.some::<2>(first).map(|row| row[0]);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(take));
            assert_eq!(result.ok(), expected, "{count} rows from {start} on, {stride} apart, from the {first}th on");
        }
    }

    #[test]
    fn a_slice_outside_the_buffer_panics() {
        let mut buffer = [0.0; 4];
        let shared = SharedOutput::new(&mut buffer);
        for (start, len, fits) in [(0, 4, true), (4, 0, true), (1, 4, false), (5, 0, false), (1, usize::MAX, false)] {
            // SAFETY: one slice at a time.
            let take = || unsafe { shared.slice(start, len) }.len();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(take));
            assert_eq!(result.is_ok(), fits, "{start} {len}");
        }
    }
}
