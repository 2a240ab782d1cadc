//! Batches, several queues, waiting, and errors.

use spillway_io::{BlockDevice, BlockQueue, ErrorKind, Request, TraceId};

use crate::{
    Outcome, SHORT, Subject, at, check, drain, ensure, failed, fill, open, perform_one, pool,
};

/// A batch starts with one doorbell, and takes of the iterator what fits.
pub fn batches_are_one_doorbell<S: Subject>(subject: &S) -> Outcome {
    let block = subject.device().limits().block_size.bytes() as usize;
    let mut queue = open(subject, 8, crate::LONG)?;
    let pool = pool(subject, 256 << 10)?;
    let capacity = queue.capacity();
    let mut numbers = 0..capacity as u64 + 3;
    let mut requests = (&mut numbers).map_while(|number| {
        let buffer = pool.allocate(block).ok()?;
        let read = Request::read(at(0), buffer).with_user_data(number);
        Some(read.with_trace(TraceId(number + 100)))
    });
    let count = queue.submit_batch(&mut requests).map_err(failed)?;
    ensure!(count == capacity, "a batch of {count}");
    ensure!(
        numbers.start == capacity as u64,
        "requests that did not fit were taken"
    );
    let mut all = drain(&mut queue)?;
    all.sort_by_key(|completion| completion.user_data);
    for (number, completion) in all.iter().enumerate() {
        ensure!(completion.result.is_ok(), "a read failed");
        let right =
            completion.user_data == number as u64 && completion.trace.0 == number as u64 + 100;
        ensure!(right, "a completion with the numbers of another request");
    }
    queue.kick();
    let statistics = queue.statistics();
    let counts = (statistics.submitted, statistics.completed);
    ensure!(
        counts == (count as u64, count as u64),
        "{counts:?} were counted"
    );
    ensure!(
        statistics.doorbells == 1,
        "{} doorbells",
        statistics.doorbells
    );
    ensure!(statistics.strays == 0, "completions for no request");
    Ok(())
}

/// What one queue has written another one reads, also one of a clone.
pub fn two_queues_are_one_device<S: Subject>(subject: &S) -> Outcome {
    let mut first = open(subject, 4, crate::LONG)?;
    let clone = subject.device().clone();
    let mut second = clone.open_queue(Default::default()).map_err(failed)?;
    let pool = pool(subject, 64 << 10)?;
    let mut page = pool.allocate(4096).map_err(failed)?;
    fill(3, 8192, &mut page);
    let mut page = perform_one(&mut first, Request::write(at(8192), page))?;
    page.fill(0);
    let page = perform_one(&mut second, Request::read(at(8192), page))?;
    check(3, 8192, &page)
}

/// With nothing in flight, at the deadline, and with a completion.
pub fn waiting_ends<S: Subject>(subject: &S) -> Outcome {
    let mut queue = open(subject, 4, crate::LONG)?;
    let pool = pool(subject, 64 << 10)?;
    let nothing = queue.wait(u64::MAX, drop).map_err(failed)?;
    ensure!(nothing == 0, "a completion of nothing");
    if !subject.hold() {
        return Ok(());
    }
    let page = pool.allocate(4096).map_err(failed)?;
    queue.submit(Request::read(at(0), page)).map_err(failed)?;
    for deadline in [0, queue.now(), queue.now() + SHORT] {
        let waited = queue.wait(deadline, drop);
        let kind = waited.map_err(|error| error.kind);
        ensure!(
            kind == Err(ErrorKind::TimedOut),
            "a wait for what is held: {kind:?}"
        );
        ensure!(queue.now() >= deadline, "a wait ended before its deadline");
        ensure!(queue.in_flight() == 1, "a time-out took a request");
    }
    ensure!(
        pool.available() < pool.capacity(),
        "a time-out gave memory back"
    );
    subject.release();
    ensure!(drain(&mut queue)?.len() == 1, "not given back");
    ensure!(
        queue.statistics().time_outs == 3,
        "time-outs were not counted"
    );
    Ok(())
}

/// A request that fails brings its memory and the device's own status; others do not notice.
pub fn errors_are_the_devices<S: Subject>(subject: &S) -> Outcome {
    let mut queue = open(subject, 8, crate::LONG)?;
    let pool = pool(subject, 64 << 10)?;
    let Some(expected) = subject.fail(true) else {
        return Ok(());
    };
    for number in 0..3 {
        let page = pool.allocate(4096).map_err(failed)?;
        queue
            .push(Request::read(at(number * 4096), page))
            .map_err(failed)?;
    }
    for completion in drain(&mut queue)? {
        let found = completion.result.err().ok_or("a request was to fail")?;
        let same = (found.kind, found.status) == (expected.kind, expected.status);
        ensure!(same, "{found} instead of {expected}");
        ensure!(
            completion.buffers.count() == 1,
            "a failed request kept its memory"
        );
    }
    subject.fail(false);
    let page = pool.allocate(4096).map_err(failed)?;
    perform_one(&mut queue, Request::read(at(0), page))?;
    Ok(())
}
