//! Dwords of the commands that create and delete I/O queues, and of Doorbell Buffer Config (NVMe base 2.1, sections
//! 5.2.1 to 5.2.5). Not for fabrics.

use bitfield_struct::bitfield;

use super::sqe::Sqe;

/// CDW10 of Create I/O Completion Queue and Create I/O Submission Queue (sections 5.2.1 and 5.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateQueue {
    /// QID: 1 or more.
    pub qid: u16,
    /// QSIZE: entries, 0-based.
    pub qsize_z: u16,
}

/// CDW11 of Create I/O Completion Queue (section 5.2.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CompletionQueue {
    /// PC: the queue is physically contiguous.
    pub pc: bool,
    /// IEN: interrupts are enabled.
    pub ien: bool,
    #[bits(14)]
    __: u16,
    /// IV: the interrupt vector.
    pub iv: u16,
}

/// CDW11 of Create I/O Submission Queue (section 5.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SubmissionQueue {
    /// PC: the queue is physically contiguous.
    pub pc: bool,
    /// QPRIO: the class of weighted round robin; looked at only where that was selected.
    #[bits(2)]
    pub qprio: u8,
    #[bits(13)]
    __: u16,
    /// CQID: the completion queue that answers go to.
    pub cqid: u16,
}

/// CDW10 of Delete I/O Completion Queue and Delete I/O Submission Queue (sections 5.2.3 and 5.2.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DeleteQueue {
    /// QID: 1 or more.
    pub qid: u16,
    __: u16,
}

impl Sqe {
    /// CDW10 of the commands that create a queue.
    pub fn create_queue(&self) -> CreateQueue {
        CreateQueue::from_bits(self.cdw10.get())
    }

    /// CDW11 of Create I/O Completion Queue.
    pub fn completion_queue(&self) -> CompletionQueue {
        CompletionQueue::from_bits(self.cdw11.get())
    }

    /// CDW11 of Create I/O Submission Queue.
    pub fn submission_queue(&self) -> SubmissionQueue {
        SubmissionQueue::from_bits(self.cdw11.get())
    }

    /// CDW10 of the commands that delete a queue.
    pub fn delete_queue(&self) -> DeleteQueue {
        DeleteQueue::from_bits(self.cdw10.get())
    }
}
