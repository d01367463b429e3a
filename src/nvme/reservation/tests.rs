//! Reports are read as far as the bytes go.

use zerocopy::{FromZeros, IntoBytes};

use super::*;

#[test]
fn a_report_is_read_entry_by_entry() {
    let mut header = ReportHeader::new_zeroed();
    header.generation.set(5);
    header.rtype = ReservationType::EXCLUSIVE_ACCESS;
    header.regstrnt.set(3);
    header.ptpls = 1;
    let entry = |cntlid: u16, key: u64, holder| {
        let mut entry = ReportEntry::new_zeroed();
        entry.cntlid.set(cntlid);
        entry.rkey.set(key);
        entry.rcsts.set_holder(holder);
        entry.hostid = HostId([9; 16]);
        entry
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(entry(1, 0x11, true).as_bytes());
    bytes.extend(entry(ReportEntry::NO_CONTROLLER, 0x22, false).as_bytes());
    assert_eq!(bytes.len(), ReservationReport::bytes(2));
    let host = HostId([9; 16]);
    let registrants = vec![
        Registrant { cntlid: Some(1), holder: true, key: 0x11, host },
        Registrant { cntlid: None, holder: false, key: 0x22, host },
    ];
    let (generation, kind) = (5, ReservationType::EXCLUSIVE_ACCESS);
    let report = ReservationReport { generation, kind, persists: true, registrants, registered: 3 };
    assert_eq!(ReservationReport::decode(&bytes), Some(report));
    assert_eq!(ReservationReport::decode(&bytes[..63]), None);
    for len in 64..bytes.len() {
        let read = ReservationReport::decode(&bytes[..len]).map(|report| report.registrants.len());
        assert_eq!(read, Some((len - 64) / 64));
    }
}
