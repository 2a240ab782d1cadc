//! Requests that end early, or whose queue or device does.

use spillway_io::{BlockDevice, BlockQueue, Cancel, ErrorKind, Request};

use crate::{LONG, Outcome, SHORT, Subject, at, drain, ensure, failed, open, perform_one, pool};

/// It completes once, with its memory, and says whether it was done; and not before the device has
/// let go of it.
pub fn a_cancelled_request_completes_once<S: Subject>(subject: &S) -> Outcome {
    let mut queue = open(subject, 4, LONG)?;
    let pool = pool(subject, 64 << 10)?;
    let held = subject.hold();
    let page = pool.allocate(4096).map_err(failed)?;
    let id = queue.submit(Request::read(at(0), page)).map_err(failed)?;
    let cancel = queue.cancel(id);
    ensure!(cancel != Cancel::Unknown, "a request in flight is unknown");
    if held && cancel == Cancel::Pending {
        let early = queue.poll(drop);
        ensure!(
            early == 0 && queue.in_flight() == 1,
            "the device still had it"
        );
    }
    subject.release();
    let all = drain(&mut queue)?;
    let [completion] = all.as_slice() else {
        return Err(alloc::format!("{} completions of one request", all.len()));
    };
    let kind = completion.result.err().map(|error| error.kind);
    ensure!(
        completion.id == id && completion.buffers.count() == 1,
        "another request came back"
    );
    ensure!(
        matches!(kind, None | Some(ErrorKind::Cancelled)),
        "cancelled, but {kind:?}"
    );
    ensure!(
        queue.cancel(id) == Cancel::Unknown,
        "it can be cancelled afterwards"
    );
    Ok(())
}

/// A queue that is dropped waits for what is in flight, but not longer than it was told; then what
/// the device may still reach is kept from everybody until it is reset.
pub fn a_dropped_queue_gives_back_or_keeps<S: Subject>(subject: &S) -> Outcome {
    let pool = pool(subject, 64 << 10)?;
    let push = |queue: &mut crate::Queue<S>| -> Outcome {
        for number in 0..4 {
            let page = pool.allocate(4096).map_err(failed)?;
            queue
                .push(Request::read(at(number * 4096), page))
                .map_err(failed)?;
        }
        queue.kick();
        Ok(())
    };
    let mut queue = open(subject, 4, LONG)?;
    push(&mut queue)?;
    drop(queue);
    ensure!(
        pool.available() == pool.capacity(),
        "memory was kept though the device was quick"
    );
    if !subject.hold() {
        return Ok(());
    }
    let mut queue = open(subject, 4, SHORT)?;
    push(&mut queue)?;
    let before = queue.now();
    drop(queue);
    let clock = open(subject, 1, SHORT)?;
    ensure!(
        clock.now() - before < LONG,
        "dropping a queue took longer than it was told"
    );
    drop(clock);
    let kept = pool.capacity() - pool.available();
    ensure!(
        kept == 0 || kept == 4 * 4096,
        "{kept} bytes were kept, of 16384"
    );
    subject.release();
    if kept != 0 && subject.reset() {
        ensure!(
            pool.available() == pool.capacity(),
            "a reset did not bring leaked memory back"
        );
    }
    let mut queue = open(subject, 4, LONG)?;
    let page = pool.allocate(4096).map_err(failed)?;
    perform_one(&mut queue, Request::read(at(0), page))?;
    Ok(())
}

/// Each request comes back as lost; its queue takes no more, a new one does.
pub fn a_reset_gives_everything_back<S: Subject>(subject: &S) -> Outcome {
    let pool = pool(subject, 64 << 10)?;
    let mut queue = open(subject, 4, LONG)?;
    subject.hold();
    for number in 0..3 {
        let page = pool.allocate(4096).map_err(failed)?;
        queue
            .push(Request::write(at(number * 4096), page))
            .map_err(failed)?;
    }
    queue.kick();
    if !subject.reset() {
        return Ok(());
    }
    let mut lost = 0;
    let count = queue.poll(|completion| {
        let kind = completion.result.err().map(|error| error.kind);
        lost += usize::from(kind == Some(ErrorKind::Lost) && completion.buffers.count() == 1);
    });
    ensure!(
        (count, lost) == (3, 3),
        "of 3 requests {count} came back, {lost} of them as lost"
    );
    ensure!(pool.available() == pool.capacity(), "a reset kept memory");
    let page = pool.allocate(4096).map_err(failed)?;
    let refused = queue
        .submit(Request::read(at(0), page))
        .map_err(|rejected| rejected.error.kind);
    let right = matches!(refused, Err(ErrorKind::Lost | ErrorKind::Gone));
    ensure!(right, "a queue of before the reset: {refused:?}");
    drop(queue);
    subject.release();
    let mut queue = subject
        .device()
        .open_queue(Default::default())
        .map_err(failed)?;
    let page = pool.allocate(4096).map_err(failed)?;
    perform_one(&mut queue, Request::read(at(0), page))?;
    Ok(())
}
