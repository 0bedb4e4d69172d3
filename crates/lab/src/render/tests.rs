use super::*;
use crate::finding::{Finding, KeptContainer, Machine, Measure, Number, Path};

const PLAIN: Style = Style {
    colour: false,
    unicode: false,
};

fn report(ok: bool) -> Report {
    let mut finding = Finding::default();
    finding.fact(
        "IPv4",
        "ann to bob at 10.80.0.3: 5 of 5 answered, in 0.041 ms",
    );
    finding.fact("learned", "02:42:0a:50:00:02 is behind port ann");
    finding.fact("learned", "02:42:0a:50:00:03 is behind port bob");
    finding.check("ann reaches bob over IPv4", true, || {
        unreachable!("asked for no reason")
    });
    finding.check("ann reaches bob over IPv6", ok, || "0 of 5 answered".into());
    for (path, samples) in [
        (Path::Clearway, [18.4, 17.9, 19.1]),
        (Path::LinuxBridge, [9.2, 9.1, 9.3]),
    ] {
        finding
            .numbers
            .extend(Number::of(Measure::TcpThroughput, path, &samples));
    }
    let machine = Machine {
        kernel: "6.18.0".into(),
        cpus: 2,
        load: 0.3,
        rootless: false,
    };
    let mut report = Report::new(machine);
    report.scenes.push(SceneReport {
        name: "ping",
        title: "containers reach each other",
        seconds: 0.25,
        ok,
        finding,
    });
    report.seconds = 14.2;
    report.ok = report.all_held();
    report
}

#[test]
fn a_scene_as_it_stands_on_the_screen() {
    let expected = "
ping  containers reach each other                                          0.2 s
  IPv4         ann to bob at 10.80.0.3: 5 of 5 answered, in 0.041 ms
  learned      02:42:0a:50:00:02 is behind port ann
               02:42:0a:50:00:03 is behind port bob
  TCP throughput   Clearway      18.4 Gbit/s  17.9 - 19.1  #############  2.00x
                   Linux bridge  9.20 Gbit/s  9.10 - 9.30  ######
  Medians and ranges of 3 rounds in turns, and Clearway's over the other's:
  more is better for throughput (TCP with cubic), less for round trips.
";
    assert_eq!(scene(&report(true).scenes[0], PLAIN), expected);
}

#[test]
fn a_summary_names_every_check_and_the_failed_ones_say_why_in_their_scene() {
    let expected = "
ping         ok      ann reaches bob over IPv4
             FAILED  ann reaches bob over IPv6

1 of 2 checks FAILED in 14.2 s.
";
    let failed = report(false);
    assert_eq!(summary(&failed, PLAIN), expected);
    let told = scene(&failed.scenes[0], PLAIN);
    assert!(
        told.contains("  FAILED       ann reaches bob over IPv6: 0 of 5 answered\n"),
        "{told}"
    );
    assert!(summary(&report(true), PLAIN).ends_with("\nall 2 checks held in 14.2 s.\n"));
}

#[test]
fn an_error_is_never_a_success() {
    let mut broken = report(true);
    broken.error = Some("the daemon is gone".into());
    assert!(!broken.all_held());
    assert!(last_word(&broken, PLAIN).contains("then the lab had to end"));
}

#[test]
fn colours_change_nothing_but_colours_and_no_line_is_too_long() {
    let style = Style {
        colour: true,
        unicode: true,
    };
    for report in [report(true), report(false)] {
        let plain = Style {
            colour: false,
            ..style
        };
        for (coloured, plain) in [
            (header(&report, style), header(&report, plain)),
            (
                scene(&report.scenes[0], style),
                scene(&report.scenes[0], plain),
            ),
            (summary(&report, style), summary(&report, plain)),
        ] {
            assert!(coloured.contains('\x1b') && !plain.contains('\x1b'));
            assert_eq!(without_colours(&coloured), plain);
            for line in plain.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }
}

#[test]
fn what_is_kept_can_be_looked_at() {
    let mut kept = report(true);
    kept.kept = Some(Kept {
        pid: 7,
        binary: "/bin/clearway".into(),
        socket: "/tmp/x/clearway.sock".into(),
        containers: vec![KeptContainer {
            name: "ann".into(),
            netns: "/proc/7/fd/9".into(),
            addresses: vec!["10.80.0.2/24".into()],
        }],
        outside: vec![KeptContainer {
            name: "world".into(),
            netns: "/proc/7/fd/10".into(),
            addresses: vec!["198.51.100.1".into()],
        }],
    });
    let text = summary(&kept, PLAIN);
    assert!(
        text.contains("  /bin/clearway --socket /tmp/x/clearway.sock port ls\n"),
        "{text}"
    );
    assert!(
        text.contains("  nsenter --net=/proc/7/fd/9 sh    # ann, 10.80.0.2/24\n"),
        "{text}"
    );
    assert!(
        text.contains("  nsenter --net=/proc/7/fd/10 sh    # world, 198.51.100.1\n"),
        "{text}"
    );
    assert!(
        text.contains("clearway.sock nat ls\n") && text.contains("clearway.sock publish ls\n"),
        "{text}"
    );
    assert!(text.contains("until Ctrl-C"), "{text}");
    kept.machine.rootless = true;
    let text = summary(&kept, PLAIN);
    assert!(
        text.contains("nsenter -U --preserve-credentials -t 7 --net=/proc/7/fd/9"),
        "{text}"
    );
}

#[test]
fn text_wraps_at_spaces() {
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("incomprehensible", 4), ["incomprehensible"]);
    assert_eq!(wrap("", 4), [""]);
}

#[test]
fn three_digits_each() {
    let shown: Vec<String> = [0.5, 9.994, 9.996, 99.94, 99.96, 1234.0]
        .map(bars::three_digits)
        .into();
    assert_eq!(shown, ["0.50", "9.99", "10.0", "99.9", "100", "1234"]);
}

#[test]
fn the_document_has_the_shape_it_promises() {
    let document = serde_json::to_value(report(true)).unwrap();
    assert_eq!(document["scenes"][0]["name"], "ping");
    assert_eq!(document["scenes"][0]["checks"][0]["ok"], true);
    assert_eq!(document["scenes"][0]["numbers"][1]["path"], "linux_bridge");
    assert_eq!(
        document["scenes"][0]["numbers"][0]["unit"],
        "gbit_per_second"
    );
    assert_eq!(document["machine"]["cpus"], 2);
    assert!(document["kept"].is_null() && document["error"].is_null());
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}
