//! What is taken survives serialising, and no text panics.

use super::*;
use crate::config::document::PathEntry;

prop_compose! {
    fn bdev(index: usize)(
        kind in prop_oneof![
            Just(BdevType::Malloc), Just(BdevType::Null), Just(BdevType::FileBacked), Just(BdevType::Nvme),
            Just(BdevType::Nvmf)
        ],
        sized in any::<bool>(),
        preallocate in proptest::option::of(any::<bool>()),
        path in "/[ -~ä]{1,20}",
        namespace in proptest::option::of(1u64..=4_294_967_294),
        block_shift in 9u32..=16,
        blocks in 1u64..1 << 40,
        text in any::<bool>(),
        ports in proptest::collection::vec(proptest::option::of(1u64..65_536), 1..9),
        hostid in proptest::option::of(1u128..),
        digests in proptest::option::of(any::<bool>()),
        numbers in proptest::option::of(1_000u64..600_001),
    ) -> BdevEntry {
        let size = ByteSize::new(blocks << block_shift);
        let size = if text { size.into() } else { SizeText::Bytes(size.bytes()) };
        let block_size = Some(SizeText::Bytes(1 << block_shift));
        let (file, device) = (kind == BdevType::FileBacked, kind == BdevType::Nvme);
        let far = kind == BdevType::Nvmf;
        let path_at = |(place, port): (usize, &Option<u64>)| PathEntry {
            address: format!("10.{index}.0.{place}"),
            port: *port,
        };
        let mut paths: Vec<_> = ports.iter().enumerate().map(path_at).collect();
        let first = paths.remove(0);
        let number = numbers.filter(|_| far);
        BdevEntry {
            size: (!device && !far && (sized || !file)).then_some(size),
            block_size: block_size.filter(|_| !device && !far),
            path: file.then(|| format!("{path}{index}")),
            preallocate: preallocate.filter(|_| file && sized),
            atomic_writes: digests.filter(|_| kind == BdevType::Malloc),
            address: if far { Some(first.address) } else { device.then(|| format!("{index:02x}:1f.7")) },
            namespace: namespace.filter(|_| device || far),
            port: first.port.filter(|_| far),
            nqn: far.then(|| format!("nqn.2026-11.com.example:{path}")),
            paths: if far { paths } else { Vec::new() },
            hostnqn: hostid.filter(|_| far).map(|_| "any name".to_owned()),
            hostid: hostid.filter(|_| far).map(|id| Uuid::from_u128(id).to_string()),
            header_digest: digests.filter(|_| far),
            data_digest: digests.filter(|_| far),
            queue_depth: number.map(|number| number % 1024 + 1),
            keep_alive_ms: number,
            io_timeout_ms: number,
            fast_io_fail_ms: number,
            reconnect_delay_ms: number,
            wait_ms: number,
            ..BdevEntry::new(format!("bdev-{index}"), kind)
        }
    }
}

prop_compose! {
    fn subsystem(index: usize)(
        name in "[ -~ä]{1,20}",
        serial in proptest::option::of("[!-~]([ -~]{0,18}[!-~])?"),
        model in proptest::option::of("[!-~]([ -~]{0,38}[!-~])?"),
        allow_any_host in any::<bool>(),
        hosts in 0usize..3,
        addresses in proptest::collection::hash_set(("(127[.]0[.]0[.][1-9]|::1|\\[fd00::[1-9]\\])", 0u64..65_536), 0..4),
        nsids in proptest::collection::hash_set(1u64..65_536, 0..2),
        uuid in proptest::option::of(1u128..),
        persist in proptest::option::of(any::<bool>()),
        write_protected in any::<bool>(),
        (ana_reporting, groups, masked) in (any::<bool>(), proptest::collection::hash_set(1u64..=128, 0..3), any::<bool>()),
    ) -> SubsystemEntry {
        let paths = groups.iter().filter(|_| ana_reporting);
        let ana: Vec<_> =
            paths.map(|group| AnaEntry { group: *group, state: AnaStateName::Inaccessible }).collect();
        let listener =
            |(address, port)| ListenerEntry { transport: Transport::Tcp, address, port, ana: ana.clone() };
        let namespace = |nsid| NamespaceEntry {
            nsid,
            bdev: format!("bdev-{index}"),
            uuid: uuid.map(|uuid| Uuid::from_u128(uuid).to_string()),
            hosts: masked.then(|| vec!["nqn.2026-11.com.example:0".to_owned()]),
            ana_group: groups.iter().next().copied().filter(|_| ana_reporting),
            // Without a UUID only those that survive a restart may persist, and none of these does.
            write_protected,
            reservations: ReservationsEntry { persist: persist.map(|persist| persist && uuid.is_some()) },
        };
        SubsystemEntry {
            nqn: format!("nqn.2026-11.io.corelane:{index}:{name}"),
            serial,
            model,
            allow_any_host,
            hosts: (0..hosts).map(|host| format!("nqn.2026-11.com.example:{host}")).collect(),
            duplicate_hosts: if masked { DuplicateHosts::RefuseClones } else { DuplicateHosts::Allow },
            ana_reporting,
            listeners: addresses.into_iter().map(listener).collect(),
            namespaces: nsids.into_iter().map(namespace).collect(),
        }
    }
}

prop_compose! {
    fn memory()(
        bytes_per_reactor in proptest::option::of((16u64 << 20)..=1 << 40),
        hugepages in prop_oneof![
            Just(HugepagesName::Auto), Just(HugepagesName::Always), Just(HugepagesName::Never)
        ],
        large in proptest::option::of(any::<bool>()),
        populate in any::<bool>(),
    ) -> MemoryEntry {
        let page_size = large.filter(|_| hugepages != HugepagesName::Never);
        MemoryEntry {
            bytes_per_reactor: bytes_per_reactor.map(SizeText::Bytes),
            hugepages,
            page_size: page_size.map(|large| ByteSize::new(if large { 1 << 30 } else { 2 << 20 }).into()),
            populate,
        }
    }
}

prop_compose! {
    fn idle()(
        idle in prop_oneof![
            Just((IdlePolicyName::Spin, None)),
            Just((IdlePolicyName::Park, None)),
            proptest::option::of(1u64..=1_000_000).prop_map(|spin| (IdlePolicyName::Adaptive, spin)),
        ],
    ) -> IdleEntry {
        IdleEntry { policy: idle.0, spin_us: idle.1 }
    }
}

/// An override of a core that certainly runs a reactor.
fn override_of(wanted: Option<(u64, IdleEntry)>, io: Option<&CoreListText>) -> Vec<OverrideEntry> {
    let Some((wanted, idle)) = wanted else { return Vec::new() };
    let core = match io {
        Some(CoreListText::List(cores)) if !cores.contains(&wanted) => cores[0],
        Some(CoreListText::Text(_)) if wanted == 1 => 0,
        // Without a list every core runs one.
        _ => wanted,
    };
    vec![OverrideEntry { core, idle }]
}

prop_compose! {
    fn document()(
        management in proptest::option::of(0u64..4),
        io in proptest::option::of(prop_oneof![
            proptest::sample::subsequence(vec![0u64, 1, 2, 3], 1..4).prop_map(CoreListText::List),
            Just(CoreListText::Text("0,2-3".to_owned())),
        ]),
        idle in idle(),
        reactors in (
            proptest::option::of((0u64..4, idle())),
            prop_oneof![
                Just(PlacementName::RoundRobin),
                Just(PlacementName::LeastLoaded),
                Just(PlacementName::IncomingCpu),
            ],
            (1u64..=1024, 1u64..=1024, 1u64..=1024),
            prop_oneof![Just(EngineName::Auto), Just(EngineName::IoUring), Just(EngineName::Epoll)],
            prop_oneof![Just(RebalanceName::Off), Just(RebalanceName::On)],
        ),
        state_dir in proptest::option::of("/\\PC{0,20}"),
        state_must_exist in any::<bool>(),
        queue_depth_max in 2u64..=4096,
        memory in memory(),
        metrics in proptest::option::of("(127[.]0[.]0[.]1|\\[::1\\])(:[1-9])?"),
        bdevs in (bdev(0), bdev(1), bdev(2)),
        subsystems in (subsystem(0), subsystem(1)),
    ) -> Document {
        Document {
            reactors: ReactorsEntry {
                management,
                io: io.clone(),
                io_count: None,
                node: None,
                idle,
                overrides: override_of(reactors.0, io.as_ref()),
                placement: reactors.1,
                budgets: BudgetsEntry {
                    messages_per_turn: reactors.2.0,
                    sockets_per_turn: reactors.2.1,
                    accepts_per_turn: reactors.2.2,
                },
                engine: reactors.3,
                rebalance: reactors.4,
            },
            state_dir,
            state_must_exist,
            limits: LimitsEntry {
                queue_depth_max,
                transfer_bytes_max: SizeText::Bytes(8192 << (queue_depth_max % 8)),
                ..LimitsEntry::default()
            },
            memory,
            metrics: metrics.map(|listen| MetricsEntry { listen }),
            discovery: DiscoveryEntry::default(),
            bdevs: vec![bdevs.0, bdevs.1, bdevs.2],
            subsystems: vec![subsystems.0, subsystems.1],
        }
    }
}

proptest! {
    #[test]
    fn every_document_survives_serialising(document in document()) {
        prop_assert_eq!(Document::from_json(&document.to_json()), Ok(document));
    }

    #[test]
    fn every_taken_configuration_survives_serialising(document in document()) {
        // Of the generated documents only few collide (a UUID or an address by chance); the rest must be
        // taken.
        if let Ok(accepted) = validate(&document, &Topology::flat(&ALLOWED)) {
            let again = parse(&Document::from(&accepted.config).to_json(), &ALLOWED);
            prop_assert_eq!(again, Ok(accepted));
        } else {
            return Err(TestCaseError::reject("collision"));
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        fuzz(text.as_bytes());
    }

    #[test]
    fn damaged_examples_never_panic(at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = example().to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        fuzz(&bytes);
    }
}

#[test]
fn the_fuzz_entry_takes_what_is_not_text() {
    fuzz(&[0xFF, 0xFE]);
    fuzz(example().to_string().as_bytes());
}
