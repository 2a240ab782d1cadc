//! IoQueues: rings that a program shares with the kernel, for requests and for what comes of them.
//!
//! `Create` makes one, `Share` yields the Memory of its rings, to be mapped readable and writable:
//!
//! ```text
//!  0       header of the submission ring     the program produces, the kernel consumes
//!  256     header of the completion ring     the kernel produces, the program consumes
//!  512     entries of the submission ring    64 bytes each
//!  then    entries of the completion ring    64 bytes each
//! ```
//!
//! The headers are those of the crate `spillway-ring`, the entries words as
//! [`Submission::to_words`] and [`Completion::to_words`] make them. [`Call::Enter`] takes what was submitted, all
//! of it or until as many requests are under way as the submission ring has entries, and waits.
//! A completion always finds room, because a request is taken only when there is room for its
//! completion; what is not taken stays in the submission ring.
//!
//! [`Call::Enter`]: crate::Call::Enter

use crate::{Error, Handle, call::Operation, service::Token, service::What};

/// Where the submission ring's header is.
pub const SUBMISSION_HEADER: usize = 0;
/// Where the completion ring's header is.
pub const COMPLETION_HEADER: usize = 256;
/// Where the entries begin.
pub const ENTRIES: usize = 512;
/// Bytes of an entry of either ring.
pub const ENTRY_SIZE: usize = 64;

/// One operation on one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Submission {
    /// The raw handle.
    pub object: u32,
    /// The number of an [`Operation`].
    pub operation: u32,
    /// Comes back with the completion.
    pub user_data: u64,
    /// Follows the request; 0 for none.
    pub trace: u64,
    /// The operation's arguments `a` to `d`, as by `do_io`.
    pub arguments: [u64; 4],
    /// For [`Operation::Wait`]: nanoseconds on the monotonic clock. Otherwise 0.
    pub deadline: u64,
}

impl Submission {
    /// An operation, without deadline and trace id.
    #[inline]
    pub const fn new(
        object: Handle,
        operation: Operation,
        user_data: u64,
        arguments: [u64; 4],
    ) -> Self {
        Self {
            object: object.raw(),
            operation: operation as u32,
            user_data,
            trace: 0,
            arguments,
            deadline: 0,
        }
    }

    /// As it stands in the ring.
    #[inline(always)]
    pub const fn to_words(&self) -> [u64; ENTRY_SIZE / 8] {
        let [a, b, c, d] = self.arguments;
        let first = self.object as u64 | (self.operation as u64) << 32;
        [first, self.user_data, self.trace, a, b, c, d, self.deadline]
    }

    /// What stands in the ring, whatever that is.
    #[inline(always)]
    pub const fn from_words(words: [u64; ENTRY_SIZE / 8]) -> Self {
        let [first, user_data, trace, a, b, c, d, deadline] = words;
        Self {
            object: first as u32,
            operation: (first >> 32) as u32,
            user_data,
            trace,
            arguments: [a, b, c, d],
            deadline,
        }
    }
}

/// The words of a [`Submission`] in the ring, by their index.
pub mod submission_word {
    /// The handle, and above it the operation.
    pub const OBJECT: usize = 0;
    /// [`super::Submission::user_data`].
    pub const USER_DATA: usize = 1;
    /// [`super::Submission::trace`].
    pub const TRACE: usize = 2;
    /// The arguments.
    pub const A: usize = 3;
    /// The second argument.
    pub const B: usize = 4;
    /// The third argument.
    pub const C: usize = 5;
    /// The fourth argument.
    pub const D: usize = 6;
    /// [`super::Submission::deadline`].
    pub const DEADLINE: usize = 7;
}

/// The words of a [`Completion`] in the ring, by their index. Those from [`completion_word::WHAT`]
/// on are written for messages only.
pub mod completion_word {
    /// [`super::Completion::user_data`].
    pub const USER_DATA: usize = 0;
    /// The status, and above it the service.
    pub const STATUS: usize = 1;
    /// [`super::Completion::value`].
    pub const VALUE: usize = 2;
    /// [`super::Completion::trace`].
    pub const TRACE: usize = 3;
    /// [`super::Completion::what`].
    pub const WHAT: usize = 4;
    /// The arguments.
    pub const A: usize = 5;
    /// The second argument.
    pub const B: usize = 6;
    /// The third argument.
    pub const C: usize = 7;
}

/// What came of an operation, or a message to a service that is bound to the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Completion {
    /// Of a completion: the submission's. Of a message: the server's number of the object.
    pub user_data: u64,
    /// Of a completion: 0 or the number of an [`Error`]. Of a message: [`MESSAGE`].
    pub status: u32,
    /// Of a message: which of the services that are bound to the queue, in the order in which they
    /// were bound.
    pub service: u32,
    /// Of a completion: the value. Of a message: the [`Token`].
    pub value: u64,
    /// The trace id.
    pub trace: u64,
    /// Of a message: [`What`] it is.
    pub what: u64,
    /// Of a message: the arguments.
    pub arguments: [u64; 3],
}

/// The status of a completion that is a message to a service.
pub const MESSAGE: u32 = u32::MAX;

const _: () = {
    assert!(size_of::<Submission>() == ENTRY_SIZE && align_of::<Submission>() == 8);
    assert!(size_of::<Completion>() == ENTRY_SIZE && align_of::<Completion>() == 8);
    assert!(core::mem::offset_of!(Submission, arguments) == 24);
    assert!(core::mem::offset_of!(Completion, value) == 16);
    assert!(core::mem::offset_of!(Completion, arguments) == 40);
};

impl Completion {
    /// As it stands in the ring.
    #[inline(always)]
    pub const fn to_words(&self) -> [u64; ENTRY_SIZE / 8] {
        let [a, b, c] = self.arguments;
        let second = self.status as u64 | (self.service as u64) << 32;
        [
            self.user_data,
            second,
            self.value,
            self.trace,
            self.what,
            a,
            b,
            c,
        ]
    }

    /// What stands in the ring, whatever that is.
    #[inline(always)]
    pub const fn from_words(words: [u64; ENTRY_SIZE / 8]) -> Self {
        let [user_data, second, value, trace, what, a, b, c] = words;
        Self {
            user_data,
            status: second as u32,
            service: (second >> 32) as u32,
            value,
            trace,
            what,
            arguments: [a, b, c],
        }
    }

    /// Whether it is a message to a service.
    #[inline]
    pub const fn is_message(&self) -> bool {
        self.status == MESSAGE
    }

    /// The result of an operation. [`Error::Failed`] for a number of an error that is not known.
    #[inline]
    pub const fn result(&self) -> Result<u64, Error> {
        if self.status == 0 {
            return Ok(self.value);
        }
        match Error::from_raw(self.status as u64) {
            Some(error) => Err(error),
            None => Err(Error::Failed),
        }
    }

    /// Of a message: its token.
    #[inline]
    pub const fn token(&self) -> Token {
        Token(self.value)
    }

    /// Of a message: what it is.
    #[inline]
    pub const fn what(&self) -> What {
        What(self.what)
    }
}

/// Bytes of the Memory of a queue's rings, before they are rounded up to pages.
#[inline]
pub const fn ring_bytes(submissions: u32, completions: u32) -> usize {
    ENTRIES + (submissions as usize + completions as usize) * ENTRY_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_words_are_an_entry(words: [u64; 8]) {
            prop_assert_eq!(Submission::from_words(words).to_words(), words);
            prop_assert_eq!(Completion::from_words(words).to_words(), words);
        }
    }

    #[test]
    fn words_have_their_names() {
        let words = [0, 1, 2, 3, 4, 5, 6, 7];
        {
            use submission_word::{A, B, C, D, DEADLINE, OBJECT, TRACE, USER_DATA};
            let entry = Submission::from_words(words);
            assert_eq!((entry.object, entry.operation), (OBJECT as u32, 0));
            assert_eq!(
                [entry.user_data, entry.trace],
                [USER_DATA, TRACE].map(|word| word as u64)
            );
            assert_eq!(entry.arguments, [A, B, C, D].map(|word| word as u64));
            assert_eq!(entry.deadline, DEADLINE as u64);
        }
        use completion_word::{A, B, C, STATUS, TRACE, USER_DATA, VALUE, WHAT};
        let entry = Completion::from_words(words);
        assert_eq!((entry.status, entry.service), (STATUS as u32, 0));
        let named = [entry.user_data, entry.value, entry.trace, entry.what];
        assert_eq!(
            named,
            [USER_DATA, VALUE, TRACE, WHAT].map(|word| word as u64)
        );
        assert_eq!(entry.arguments, [A, B, C].map(|word| word as u64));
    }

    #[test]
    fn a_completion_has_a_result() {
        let completion = |status| Completion {
            status,
            value: 7,
            ..Completion::default()
        };
        assert_eq!(completion(0).result(), Ok(7));
        assert_eq!(completion(Error::Gone as u32).result(), Err(Error::Gone));
        assert_eq!(completion(0xfffe).result(), Err(Error::Failed));
        assert!(completion(MESSAGE).is_message() && !completion(0).is_message());
    }
}
