//! docs/conformance.md, field by field: what Identify answers is in a field that the page names, and is what the page says.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::sync::Arc;

use zerocopy::FromZeros;

use super::{DISK0, HOST, Rig, Shape, command, shape};
use crate::bdev::{Atomicity, Bdev, Features, Geometry};
use crate::nvmf::controller::ControllerId;
use crate::nvmf::fence::NamespaceKey;
use crate::nvmf::fence::keeper::Protection;
use crate::nvmf::options::Options;
use crate::nvmf::policy::Ana;
use crate::spec::identify::command_set::NvmController;
use crate::spec::identify::controller::IdentifyController;
use crate::spec::identify::namespace::{IdentifyNamespace, IndependentNamespace};
use crate::spec::nqn::Nqn;
use crate::spec::opcode::AdminOpcode;
use crate::spec::status::Status;

const PAGE: &str = include_str!("../../../docs/conformance.md");

/// A field as the specification calls it, its first byte and its length.
type Field = (String, usize, usize);

/// 0-based fields have a letter behind the name, and of three retry delays there is the first.
fn name(field: &str) -> String {
    let field = field.strip_suffix("_z").unwrap_or(field).to_uppercase();
    if field == "CRDT" { "CRDT1".to_owned() } else { field }
}

/// The fields of a structure that are not reserved.
macro_rules! fields {
    ($page:ty: $($field:ident)*) => {{
        let page = <$page>::new_zeroed();
        vec![$((name(stringify!($field)), offset_of!($page, $field), size_of_val(&page.$field))),*]
    }};
}

fn of_controller() -> Vec<Field> {
    fields!(IdentifyController: vid ssvid sn mn fr rab ieee cmic mdts cntlid ver rtd3r rtd3e oaes ctratt rrls bpcap nssl plsi
        cntrltype fguid crdt crcap oacs acl_z aerl_z frmw lpa elpe_z npss_z wctemp cctemp tnvmcap unvmcap kas anatt anacap
        anagrpmax nanagrpid pels domainid megcap sqes cqes maxcmd nn oncs fuses fna vwc awun_z awupf_z icsvscc nwpc acwu_z
        cdfs sgls mnan maxdna maxcna subnqn ioccsz iorcsz icdoff fcatt msdbd ofcs dctype psd)
}

fn of_namespace() -> Vec<Field> {
    fields!(IdentifyNamespace: nsze ncap nuse nsfeat nlbaf_z flbas mc dpc dps nmic rescap fpi dlfeat nawun_z nawupf_z nacwu_z
        nabsn_z nabo nabspf_z noiob nvmcap npwg_z npwa_z npdg_z npda_z nows_z mssrl mcl msrc_z anagrpid nsattr nvmsetid
        endgid nguid eui64 lbaf)
}

fn of_independent() -> Vec<Field> {
    fields!(IndependentNamespace: nsfeat nmic rescap fpi anagrpid nsattr nvmsetid endgid nstat kpios maxkt rgrpid)
}

fn of_command_set() -> Vec<Field> {
    fields!(NvmController: vsl wzsl wusl dmrl dmrsl dmsl)
}

/// What the page says of each field in `columns` columns, in the table below the line that begins so.
fn told(heading: &str, columns: usize) -> BTreeMap<String, Vec<String>> {
    let (_, rest) = PAGE.split_once(&format!("\n{heading}")).unwrap_or_else(|| panic!("no {heading}"));
    let rows =
        rest.lines().skip_while(|line| !line.starts_with("| ")).take_while(|line| line.starts_with('|'));
    let mut told = BTreeMap::new();
    for row in rows.skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names: Vec<&str> = cells[0].split(", ").collect();
        // A cell says one thing of all fields of its row, or one of each.
        let each = |cell: &str, at: usize| {
            let parts: Vec<&str> = cell.split(", ").collect();
            if parts.len() == names.len() { parts[at].to_owned() } else { cell.to_owned() }
        };
        for (at, name) in names.iter().enumerate() {
            let said = cells[1..=columns].iter().map(|cell| each(cell, at)).collect();
            assert!(told.insert((*name).to_owned(), said).is_none(), "{name} is told twice");
        }
    }
    told
}

/// The number that a cell says; none where it is in words.
fn number(cell: &str) -> Option<u128> {
    match cell.strip_suffix('h') {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => cell.replace(',', "").parse().ok(),
    }
}

/// Whether `page` is what the column says of each field.
fn check(page: &[u8], fields: &[Field], told: &BTreeMap<String, Vec<String>>, column: usize) {
    let mut left = page.to_vec();
    for (name, first, length) in fields {
        let bytes = &page[*first..first + length];
        left[*first..first + length].fill(0);
        let is_zero = bytes.iter().all(|byte| *byte == 0);
        let said = told.get(name).map_or("0", |cells| cells[column].as_str());
        match number(said) {
            Some(0) => assert!(is_zero, "{name} is {bytes:02x?}, and the page says nothing of it"),
            None if said == "no" => {
                assert!(is_zero, "{name} is {bytes:02x?}, and the page says that it is not")
            }
            None => assert!(!is_zero, "{name} is 0, and the page says {said}"),
            Some(number) => {
                let mut value = [0; 16];
                value[..bytes.len().min(16)].copy_from_slice(&bytes[..bytes.len().min(16)]);
                assert_eq!(u128::from_le_bytes(value), number, "{name}: the page says {said}");
            }
        }
    }
    let unnamed: Vec<usize> = (0..left.len()).filter(|at| left[*at] != 0).collect();
    assert_eq!(unnamed, [0; 0], "bytes that belong to no field");
}

/// Every field that the page tells of is one.
fn check_names(told: &BTreeMap<String, Vec<String>>, fields: &[Field]) {
    for name in told.keys() {
        assert!(fields.iter().any(|(field, ..)| field == name), "there is no field {name}");
    }
}

/// A target with everything that is optional, whose namespace 1 is write protected.
fn everything() -> (Rig, [ControllerId; 2]) {
    let atomicity = Atomicity { normal: 8, power_fail: 4, boundary: 16 };
    let all = shape(512, true, Features::ALL);
    let geometry = Geometry { atomicity, ..*all.geometry() };
    let bdev: Arc<dyn Bdev> = Arc::new(Shape(geometry));
    let mut rig = Rig::with(Options::default(), Arc::clone(&bdev));
    let mut policy = rig.target.policy(0).clone();
    policy.ana = Some(Ana::default());
    rig.replace(DISK0, |subsystem| {
        subsystem.policy = policy;
        subsystem.namespaces.iter_mut().for_each(|namespace| namespace.bdev = Arc::clone(&bdev));
    });
    let nqn = Nqn::parse(DISK0).unwrap();
    rig.target.enable_reservations(&nqn);
    rig.target.enable_write_protection(&nqn);
    let protection = Some(Protection { hosts: true, operator: false });
    rig.target.set_protection_known(NamespaceKey { subsystem: 0, nsid: 1 }, protection);
    let both = [rig.ready(), rig.discovery(HOST)];
    (rig, both)
}

fn identify(rig: &mut Rig, controller: ControllerId, cns: u32) -> Vec<u8> {
    let (status, _, page) = rig.done(controller, &command(AdminOpcode::IDENTIFY, 1, cns, 0));
    assert_eq!(status, Status::SUCCESS);
    page
}

#[test]
fn identify_controller_is_what_the_page_says() {
    let (mut rig, both) = everything();
    let told = told("Fields of Identify Controller.", 2);
    assert!(told.len() > 30, "{told:?}");
    check_names(&told, &of_controller());
    for (column, controller) in both.into_iter().enumerate() {
        check(&identify(&mut rig, controller, 1), &of_controller(), &told, column);
    }
}

#[test]
fn identify_namespace_is_what_the_page_says() {
    let (mut rig, [controller, _]) = everything();
    let told = told("Fields of Identify Namespace.", 2);
    assert!(told.len() > 15, "{told:?}");
    check_names(&told, &[of_namespace(), of_independent()].concat());
    check(&identify(&mut rig, controller, 0), &of_namespace(), &told, 0);
    check(&identify(&mut rig, controller, 8), &of_independent(), &told, 1);
}

#[test]
fn identify_controller_of_the_command_set_is_what_the_page_says() {
    let (mut rig, [controller, _]) = everything();
    let told = told("Fields of Identify Controller of the NVM command set.", 1);
    check_names(&told, &of_command_set());
    check(&identify(&mut rig, controller, 6), &of_command_set(), &told, 0);
}

#[test]
fn a_page_that_says_something_else_is_noticed() {
    let fields = [("ONE".to_owned(), 0, 1), ("TWO".to_owned(), 2, 2)];
    let cells = |one: &str, two: &str| -> BTreeMap<String, Vec<String>> {
        [("ONE", one), ("TWO", two)].map(|(name, cell)| (name.to_owned(), vec![cell.to_owned()])).into()
    };
    check(&[7, 0, 0, 1], &fields, &cells("7", "100h"), 0);
    check(&[7, 0, 0, 1], &fields, &cells("configured", "256"), 0);
    let wrong = [
        ([7, 0, 0, 1], cells("8", "256")),
        ([7, 0, 0, 1], cells("7", "0")),
        ([7, 0, 0, 1], cells("no", "256")),
        ([0, 0, 0, 1], cells("configured", "256")),
        ([7, 1, 0, 1], cells("7", "256")),
        ([7, 0, 0, 1], [("ONE".to_owned(), vec!["7".to_owned()])].into()),
    ];
    for (page, told) in wrong {
        let noticed = std::panic::catch_unwind(|| check(&page, &fields, &told, 0));
        assert!(noticed.is_err(), "{page:?} {told:?}");
    }
}
