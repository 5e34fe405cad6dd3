//! Parallel workers that hash rows for a verification: they share its snapshot, its role and its settings, take tasks from one counter
//! and send digests through a queue each. The plan of a query could do the same, but would copy every row before it is hashed.

use super::digest::{Digest, LENGTH};
use super::work::Work;
use pgrx::pg_sys::shm_mq_result::{SHM_MQ_DETACHED, SHM_MQ_SUCCESS};
use pgrx::prelude::*;
use pgrx::{check_for_interrupts, pg_sys};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most helpers: their leader pairs what they send with the leaves, and is not faster than some.
const MOST: i32 = 16;

/// Bytes of a queue: more than one task gives, so that helpers go on while their leader hashes, too.
const QUEUE: usize = 2 << 20;

/// Bytes of digests in a message.
const MESSAGE: usize = 100 * LENGTH;

// What shared memory holds, by key.
const COUNTER: u64 = 1;
const WORK: u64 = 2;
const QUEUES: u64 = 3;

/// What a helper had sent.
pub enum Sent {
    /// Rows.
    Rows,
    /// The end of a task.
    Done,
    /// Nothing yet.
    Nothing,
}

/// The helpers of one verification; while there are any, the transaction is in parallel mode and cannot write.
pub struct Helpers {
    context: *mut pg_sys::ParallelContext,
    counter: *const AtomicU64,
    /// Those that still send.
    queues: Vec<*mut pg_sys::shm_mq_handle>,
    /// The queue that is asked next.
    turn: usize,
}

impl Helpers {
    /// Starts as many as max_parallel_workers_per_gather allows; none when it allows none, or the work is small.
    pub fn launch(work: &Work) -> Option<Self> {
        // SAFETY: the sequence that src/backend/access/transam/README.parallel describes; what is allocated is large enough for what is
        // written to it; an error ends the context with its transaction or savepoint.
        unsafe {
            let wanted = pg_sys::max_parallel_workers_per_gather
                .min(pg_sys::max_parallel_workers)
                .min(MOST);
            if !work.is_large() || wanted <= 0 || pg_sys::IsInParallelMode() {
                return None;
            }
            let text = serde_json::to_vec(work).ok()?;
            pg_sys::EnterParallelMode();
            let context = pg_sys::CreateParallelContext(
                c"$libdir/pg_batchcortex".as_ptr(),
                c"verification_helper".as_ptr(),
                wanted,
            );
            let queues = QUEUE * wanted as usize;
            for size in [size_of::<AtomicU64>(), 8 + text.len(), queues] {
                (*context).estimator.space_for_chunks += size.next_multiple_of(64);
                (*context).estimator.number_of_keys += 1;
            }
            pg_sys::InitializeParallelDSM(context);
            let toc = (*context).toc;
            let insert = |key: u64, size: usize| -> *mut u8 {
                let place = pg_sys::shm_toc_allocate(toc, size);
                pg_sys::shm_toc_insert(toc, key, place);
                place.cast()
            };
            let counter: *mut AtomicU64 = insert(COUNTER, size_of::<AtomicU64>()).cast();
            counter.write(AtomicU64::new(0));
            let place = insert(WORK, 8 + text.len());
            place.cast::<u64>().write(text.len() as u64);
            place.add(8).copy_from_nonoverlapping(text.as_ptr(), text.len());
            let place = insert(QUEUES, queues);
            for i in 0..wanted as usize {
                let queue = pg_sys::shm_mq_create(place.add(i * QUEUE).cast(), QUEUE);
                pg_sys::shm_mq_set_receiver(queue, pg_sys::MyProc);
            }
            pg_sys::LaunchParallelWorkers(context);
            let queues = (0..(*context).nworkers_launched as usize)
                .map(|i| {
                    let worker = (*(*context).worker.add(i)).bgwhandle;
                    pg_sys::shm_mq_attach(place.add(i * QUEUE).cast(), (*context).seg, worker)
                })
                .collect();
            Some(Helpers {
                context,
                counter,
                queues,
                turn: 0,
            })
        }
    }

    /// How many still send.
    pub fn count(&self) -> usize {
        self.queues.len()
    }

    /// Takes the next task.
    pub fn claim(&self) -> u64 {
        // SAFETY: it lives as long as the context.
        unsafe { (*self.counter).fetch_add(1, Ordering::Relaxed) }
    }

    /// Takes one message, if a helper has sent one.
    pub fn receive(&mut self, body: &mut dyn FnMut(u32, Digest)) -> Sent {
        let mut asked = 0;
        while asked < self.queues.len() {
            self.turn = (self.turn + 1) % self.queues.len();
            let (mut size, mut data) = (0, std::ptr::null_mut());
            // SAFETY: the queue is attached; what it gives stays until it is asked again.
            let message = unsafe {
                match pg_sys::shm_mq_receive(self.queues[self.turn], &raw mut size, &raw mut data, true) {
                    SHM_MQ_SUCCESS => std::slice::from_raw_parts(data.cast::<u8>(), size),
                    SHM_MQ_DETACHED => {
                        self.queues.swap_remove(self.turn);
                        (self.turn, asked) = (0, 0);
                        continue;
                    }
                    _ => {
                        asked += 1;
                        continue;
                    }
                }
            };
            let Some((relation, digests)) = message.split_first_chunk() else {
                return Sent::Done;
            };
            let relation = u32::from_ne_bytes(*relation);
            for digest in digests.as_chunks::<LENGTH>().0 {
                body(relation, Digest::unpack(digest));
            }
            return Sent::Rows;
        }
        Sent::Nothing
    }

    /// Waits until one has something to say. Raises what one has raised.
    pub fn wait(&self) {
        check_for_interrupts!();
        if self.queues.is_empty() {
            // SAFETY: raises what a worker has raised.
            unsafe { pg_sys::WaitForParallelWorkersToFinish(self.context) };
            error!("a parallel worker of the verification ended before its work");
        }
        // SAFETY: waits for this process's own latch, which helpers set when they have sent.
        unsafe {
            pg_sys::WaitLatch(
                pg_sys::MyLatch,
                (pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH) as i32,
                0,
                pg_sys::PG_WAIT_EXTENSION,
            );
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        check_for_interrupts!();
    }

    /// Ends them; their work is done.
    pub fn close(self) {
        // SAFETY: the context is that of `launch`.
        unsafe {
            pg_sys::WaitForParallelWorkersToFinish(self.context);
            pg_sys::DestroyParallelContext(self.context);
            pg_sys::ExitParallelMode();
        }
    }
}

/// A helper: takes tasks until there are none.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn verification_helper(
    seg: *mut pg_sys::dsm_segment,
    toc: *mut pg_sys::shm_toc,
) {
    // SAFETY: shared memory as `Helpers::launch` has laid it out.
    let (counter, work, queue) = unsafe {
        let find = |key: u64| pg_sys::shm_toc_lookup(toc, key, false).cast::<u8>();
        let work = find(WORK);
        let length = work.cast::<u64>().read() as usize;
        let queue = find(QUEUES).add(QUEUE * pg_sys::ParallelWorkerNumber as usize);
        pg_sys::shm_mq_set_sender(queue.cast(), pg_sys::MyProc);
        (
            &*find(COUNTER).cast::<AtomicU64>(),
            std::slice::from_raw_parts(work.add(8), length),
            pg_sys::shm_mq_attach(queue.cast(), seg, std::ptr::null_mut()),
        )
    };
    let mut work: Work = serde_json::from_slice(work)
        .unwrap_or_else(|e| error!("the work of the verification cannot be read: {e}"));
    // False when the leader has gone.
    let send = |message: &[u8]| {
        // SAFETY: the queue is attached; the message is copied into it.
        unsafe {
            pg_sys::shm_mq_send(queue, message.len(), message.as_ptr().cast(), false, true) == SHM_MQ_SUCCESS
        }
    };
    Spi::connect(|_| {
        loop {
            let task = counter.fetch_add(1, Ordering::Relaxed);
            if task >= work.tasks() {
                return;
            }
            let mut message = Vec::with_capacity(4 + MESSAGE);
            let mut heard = true;
            work.run(task, &mut |relation, digest| {
                if message.is_empty() {
                    message.extend_from_slice(&relation.to_ne_bytes());
                }
                message.extend_from_slice(&digest.pack());
                if message.len() >= MESSAGE {
                    heard = heard && send(&message);
                    message.clear();
                }
            });
            heard = heard && (message.is_empty() || send(&message)) && send(&[]);
            if !heard {
                return;
            }
        }
    });
}
