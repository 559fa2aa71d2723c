"""A policy says whom the inspector believes: it is read strictly, and says why a quorum is not met."""

from __future__ import annotations

from base64 import b64encode

import pytest

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import Ed25519Cosigner, Mldsa44Cosigner
from ledger.merkle.log_keys import derive
from ledger.merkle.note import COSIGNATURE_ED25519, ED25519, Signature, VerifierKey, key_id
from ledger.merkle.policy import POLICY_LIMIT, Policy

ORIGIN = "ledger.example.org/study/NCT01234567"
LOG = derive(bytes(range(32)), ORIGIN)
COSIGNERS = {
    name: Ed25519Cosigner(f"{name}.example/w", bytes([number]) * 32)
    for number, name in enumerate(("sponsor", "cro", "irb", "siteassoc"), 1)
}
TREE = Checkpoint(ORIGIN, 7, bytes(32))
VKEY = {name: str(cosigner.key) for name, cosigner in COSIGNERS.items()}
LINES = [
    f"log {LOG.ed25519.key} https://ledger.example.org/study/NCT01234567",
    f"log {LOG.mldsa44.key}",
    *(f"witness {name} {vkey}" for name, vkey in VKEY.items()),
    "group independent any irb siteassoc",
    "group insiders any sponsor cro",
    "group q all independent insiders",
    "quorum q",
]
TEXT = "\n".join(LINES) + "\n"


def signed(*names: str) -> list[Signature]:
    return [COSIGNERS[name].cosign(TREE, 1_760_000_000) for name in names]


def with_line(number: int, line: str) -> str:
    """The study's policy with one line replaced."""
    return "\n".join([*LINES[:number], line, *LINES[number + 1 :]]) + "\n"


def test_a_policy_names_logs_witnesses_and_the_quorum() -> None:
    policy = Policy.parse(TEXT)
    assert policy.logs == (LOG.ed25519.key, LOG.mldsa44.key)
    assert list(policy.witnesses) == ["sponsor", "cro", "irb", "siteassoc"]
    assert policy.witnesses["irb"].key == COSIGNERS["irb"].key and policy.witnesses["irb"].url is None
    assert policy.quorum == "q"
    assert len(policy.log_verifiers(ORIGIN)) == 2 and policy.log_verifiers("elsewhere.example/log") == []
    assert len(policy.witness_verifiers()) == 4


def test_the_canonical_text_is_the_same_policy_and_is_written_the_same_again() -> None:
    odd = "\t# the study's policy\n\n" + TEXT.replace(" ", " \t ").replace("quorum", "  quorum") + "# the end"
    policy = Policy.parse(odd)
    assert Policy.parse(str(policy)) == policy == Policy.parse(TEXT)
    assert str(Policy.parse(str(policy))) == str(policy)
    assert "#" not in str(policy) and "\t" not in str(policy) and str(policy).endswith("\nquorum q\n")


def test_a_comment_may_follow_on_the_same_line() -> None:
    text = with_line(8, "group q all independent insiders   # at least one of them is independent")
    assert Policy.parse(text) == Policy.parse(TEXT)


def test_bytes_and_text_are_read_alike_and_a_last_line_feed_may_be_missing() -> None:
    assert Policy.parse(TEXT.encode()) == Policy.parse(TEXT) == Policy.parse(TEXT[:-1])


@pytest.mark.parametrize(
    ("names", "met"),
    [
        ((), False),
        (("irb",), False),
        (("irb", "siteassoc"), False),
        (("sponsor", "cro"), False),
        (("sponsor", "irb"), True),
        (("cro", "siteassoc"), True),
        (("sponsor", "cro", "irb", "siteassoc"), True),
        (("irb", "irb"), False),
    ],
)
def test_two_parties_one_of_them_independent_make_the_quorum(names: tuple[str, ...], met: bool) -> None:
    result = Policy.parse(TEXT).evaluate(signed(*names))
    assert bool(result) is result.met is met
    assert set(result.satisfied) == set(names)
    assert set(result.missing) == set(VKEY) - set(names)


def test_a_quorum_that_is_not_met_says_what_is_missing() -> None:
    result = Policy.parse(TEXT).evaluate(signed("sponsor", "cro"))
    assert result.because == (
        "the quorum is not met: q needs 2 of independent, insiders and has insiders; "
        "independent needs 1 of irb, siteassoc and has none"
    )
    single = Policy.parse(f"witness irb {VKEY['irb']}\nquorum irb\n")
    assert single.evaluate([]).because == "the quorum is not met: irb has not cosigned"
    assert single.evaluate(signed("irb")).because == "the quorum irb is met by irb"


def test_a_number_of_members_is_a_threshold() -> None:
    policy = Policy.parse(with_line(8, "group q 2 independent insiders"))
    assert not policy.evaluate(signed("irb")) and policy.evaluate(signed("irb", "cro"))


def test_no_quorum_asks_for_nobody() -> None:
    policy = Policy.parse("quorum none\n")
    assert policy.evaluate([]) and policy.logs == () and policy.witnesses == {}
    assert Policy.without_witnesses(LOG.public()).logs == LOG.public()


def test_the_same_name_with_another_key_does_not_count() -> None:
    """Whoever calls itself like a witness is not that witness."""
    impostor = Ed25519Cosigner(COSIGNERS["irb"].key.name, bytes([99]) * 32).cosign(TREE, 1)
    renamed = Signature("other.example/w", COSIGNERS["irb"].key.key_id, impostor.signature)
    assert not Policy.parse(TEXT).evaluate([*signed("sponsor"), impostor, renamed])


def test_the_logs_own_signatures_are_no_witnesses() -> None:
    own = [LOG.ed25519.sign(TREE.body()), LOG.mldsa44.cosign(TREE, 1)]
    assert not Policy.parse(TEXT).evaluate([*own, *signed("sponsor")])


def test_a_witness_outside_the_quorum_is_neither_satisfied_nor_missing() -> None:
    policy = Policy.parse(with_line(9, "quorum independent"))
    result = policy.evaluate(signed("sponsor", "irb"))
    assert result and result.satisfied == ("irb",) and result.missing == ("siteassoc",)


def test_a_long_chain_of_groups_is_evaluated() -> None:
    lines = [f"witness w {VKEY['irb']}", "group g0 any w", *(f"group g{n} all g{n - 1}" for n in range(1, 3_000))]
    policy = Policy.parse("\n".join([*lines, "quorum g2999"]))
    assert policy.evaluate(signed("irb"))
    assert not policy.evaluate([])


def disguised(key: VerifierKey, name: str, kind: int) -> str:
    """The same public key under another name or as another type, with the right id."""
    material = b64encode(bytes([kind]) + key.public).decode()
    return f"{name}+{key_id(name, kind, key.public).hex()}+{material}"


IRB = COSIGNERS["irb"].key
WRONG = {
    "a witness twice": (5, f"witness siteassoc {VKEY['irb']}", "line 6 .*same public key as irb.example/w"),
    "one key under two names": (
        5,
        f"witness siteassoc {disguised(IRB, 'friend.example/w', COSIGNATURE_ED25519)}",
        "line 6 .*same public key",
    ),
    "a log's key as a witness": (
        5,
        f"witness siteassoc {disguised(LOG.ed25519.key, 'friend.example/w', COSIGNATURE_ED25519)}",
        "line 6 .*same public key",
    ),
    "a log twice": (1, f"log {disguised(LOG.ed25519.key, 'other.example/log', ED25519)}", "line 2 .*same public key"),
    "a log with a witness's key type": (1, f"log {VKEY['irb']}", "line 2 .*type 0x01 or 0x06, not 0x04"),
    "a witness with a log's key type": (
        5,
        f"witness siteassoc {disguised(VerifierKey('x', ED25519, bytes(32)), 'x', ED25519)}",
        "line 6 .*type 0x04 or 0x06, not 0x01",
    ),
    "a key whose id is another's": (5, f"witness s {VKEY['siteassoc'].replace('+', '+0', 1)}", "line 6"),
    "a key cut short": (5, f"witness s {VKEY['siteassoc'][:-4]}", "line 6"),
    "no key": (5, "witness siteassoc", "line 6 .*witness <name> <vkey>"),
    "too much on a witness line": (5, f"witness siteassoc {VKEY['siteassoc']} https://a b", "line 6 .*a witness is"),
    "too much on a log line": (1, f"log {LOG.mldsa44.key} https://a b", "line 2 .*a log is"),
    "a name twice": (5, f"witness irb {VKEY['siteassoc']}", "line 6 .*'irb' is defined already"),
    "a group with a witness's name": (6, "group irb any siteassoc", "line 7 .*'irb' is defined already"),
    "a witness called none": (5, f"witness none {VKEY['siteassoc']}", "line 6 .*called 'none'"),
    "a group called none": (6, "group none any irb siteassoc", "line 7 .*called 'none'"),
    "a name that begins a comment": (5, f"witness #s {VKEY['siteassoc']}", "line 6 .*a witness is"),
    "none as a member": (6, "group independent any irb none", "line 7 .*'none' is nobody"),
    "a group before its members": (6, "group independent any irb later", "line 7 .*'later' is not defined above"),
    "a group in itself": (6, "group independent any irb independent", "line 7 .*not defined above"),
    "a member twice in a group": (6, "group independent 2 irb irb", "line 7 .*'irb' is a member already"),
    "a member of two groups": (7, "group insiders any sponsor irb", "line 8 .*'irb' is a member already"),
    "a group without members": (6, "group independent any", "line 7 .*at least one member"),
    "a threshold of none": (6, "group independent 0 irb siteassoc", "line 7 .*'0' of 2"),
    "a threshold above the members": (6, "group independent 3 irb siteassoc", "line 7 .*'3' of 2"),
    "a negative threshold": (6, "group independent -1 irb siteassoc", "line 7"),
    "a threshold with a zero before it": (6, "group independent 01 irb siteassoc", "line 7"),
    "a threshold with a sign": (6, "group independent +1 irb siteassoc", "line 7"),
    "a threshold in other digits": (6, "group independent ١ irb siteassoc", "line 7"),
    "a threshold of a million digits": (6, f"group independent {'9' * 9_000} irb siteassoc", "line 7"),
    "a threshold in words": (6, "group independent most irb siteassoc", "line 7"),
    "no quorum": (9, "# quorum q", "no quorum line"),
    "two quorums": (8, "quorum independent", "line 10 .*a quorum already"),
    "an undefined quorum": (9, "quorum board", "line 10 .*'board' is not defined above"),
    "a quorum of two": (9, "quorum independent insiders", "line 10 .*a quorum is"),
    "an empty quorum": (9, "quorum", "line 10 .*a quorum is"),
    "an unknown word": (9, "Quorum q", "line 10 .*'Quorum' begins no line"),
    "a carriage return": (9, "quorum q\r", "line 10 .*line feed alone"),
    "a NUL": (9, "quorum q\0", "line 10 .*control character"),
    "a form feed as a space": (9, "quorum\fq", "line 10 .*control character"),
    "a no-break space as a space": (9, "quorum\N{NO-BREAK SPACE}q", "line 10 .*begins no line"),
    "a line separator as a line feed": (8, "group q any insiders\N{LINE SEPARATOR}quorum q", "line 9 .*not defined"),
}


@pytest.mark.parametrize(("number", "line", "because"), WRONG.values(), ids=WRONG.keys())
def test_a_policy_that_could_be_read_in_two_ways_is_refused(number: int, line: str, because: str) -> None:
    with pytest.raises(ValueError, match=because):
        Policy.parse(with_line(number, line))


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2 of the policy is not UTF-8"):
        Policy.parse(b"# good\n# \xff\nquorum none\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        Policy.parse("# \ud800\nquorum none\n")
    with pytest.raises(ValueError, match="bytes"):
        Policy.parse("#" * (POLICY_LIMIT + 1))
    with pytest.raises(ValueError, match="no quorum line"):
        Policy.parse("")


def test_names_are_compared_byte_by_byte() -> None:
    text = f"witness K {VKEY['irb']}\nwitness \N{KELVIN SIGN} {VKEY['cro']}\nquorum K\n"
    policy = Policy.parse(text)
    assert policy.evaluate(signed("irb")) and not policy.evaluate(signed("cro"))


def test_a_post_quantum_witness_counts_like_any_other() -> None:
    cosigner = Mldsa44Cosigner("pq.example/w", bytes(32))
    policy = Policy.parse(f"witness pq {cosigner.key}\nquorum pq\n")
    assert policy.evaluate([cosigner.cosign(TREE, 1)])
