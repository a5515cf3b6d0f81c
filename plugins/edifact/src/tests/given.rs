//! Real files, where they are at hand.

use super::*;

#[test]
fn files_of_other_projects_are_read_whole() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here
        .ancestors()
        .map(|folder| folder.join("shared/data/edi"))
        .find(|folder| folder.is_dir());
    let Some(folder) = found else {
        println!("skipped: there is no shared/data/edi");
        return;
    };
    // File, envelope: document numbers of the records; faults.
    let cases = [
        (
            "edifact/pydifact/order.edi",
            "reject",
            &["801715918011 lines 2"][..],
            1,
        ),
        (
            "edifact/pydifact/order.edi",
            "ignore",
            &["801715918011 lines 2"],
            0,
        ),
        (
            "edifact/pydifact/order2.edi",
            "ignore",
            &["PO123456 lines 1"],
            0,
        ),
        (
            "edifact/pydifact/invoice1.edi",
            "reject",
            &["1060113800026 lines 1"],
            0,
        ),
        (
            "edifact/pydifact/wikipedia_en.edi",
            "reject",
            &[" lines 0"],
            0,
        ),
        (
            "edifact/smooks/ORDERS_D.03B_Interchange.txt",
            "reject",
            &["BKOD99 lines 4"],
            0,
        ),
        (
            "sap-recipes/edifact_D96A_ORDERS.edi",
            "reject",
            &["5YGVX1VT lines 1"],
            0,
        ),
        ("edi.net/edifact.ORDRSP.edi", "reject", &[], 2),
        (
            "edi.net/edifact.ORDRSP.edi",
            "warn",
            &["IM20U000000000CNF lines 1"],
            0,
        ),
        (
            "staedi/EDIFACT/invoic_d97b_una.edi",
            "reject",
            &["342459 lines 2"],
            0,
        ),
        ("staedi/EDIFACT/orders-with-group.edi", "reject", &[], 1),
        (
            "staedi/EDIFACT/orders-with-group.edi",
            "warn",
            &["C1441747 lines 1"],
            0,
        ),
        // X12 and TRADACOMS are something else, and said to be.
        ("staedi/x12/simple810.edi", "reject", &[], 1),
        ("staedi/TRADACOMS/order.edi", "ignore", &[], 1),
    ];
    for (name, envelope, expect, faults) in cases {
        let got = read(
            fs::read(folder.join(name)).unwrap(),
            &json!({ "envelope": envelope }),
        );
        let found: Vec<String> = got
            .records
            .iter()
            .map(|(_, _, record)| {
                let number = record["document"]["number"].as_str().unwrap_or_default();
                let lines = record["lines"].as_array().map_or(0, Vec::len);
                format!("{number} lines {lines}")
            })
            .collect();
        println!("{name} {envelope}: {found:?} {:?}", got.faults());
        assert_eq!(found, expect, "{name} {envelope}: {:?}", got.faults());
        assert_eq!(
            got.unreadable.len(),
            faults,
            "{name} {envelope}: {:?}",
            got.faults()
        );
    }
}
