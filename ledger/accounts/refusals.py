"""Why an account's owner is turned away.

ACCOUNT-1  user id and passphrase are right together, and the account is not locked
ACCOUNT-2  a session lasts until it is closed, idle or twelve hours old
ACCOUNT-3  the first signing of a session gives user id and passphrase, later ones at least the passphrase
ACCOUNT-4  a passphrase is long, not one of the most common, and does not contain the user id
ACCOUNT-5  a code works once, for the person it was made for, until it runs out
ACCOUNT-6  a custodial key is renewed at least every two years
ACCOUNT-7  only so many passphrases are tried at once
"""

from __future__ import annotations

from ledger.domain.refusals import Refusal


class SignInRefused(Refusal):
    """The user id or the passphrase is wrong, or the account is locked."""

    rule, status = "ACCOUNT-1", 401
    remedy = (
        "Give both exactly as they were chosen. After five failures in a row an account is locked until a registrar "
        "unlocks it; who forgot the passphrase asks a registrar for a new code."
    )
    source = "21 CFR 11.200(a)(1), 11.300(d)"


class SessionEnded(Refusal):
    """There is no such session, or it has ended."""

    rule, status = "ACCOUNT-2", 401
    remedy = "Sign in again with user id and passphrase."
    source = "21 CFR 11.200(a)(1)(ii)"


class ComponentMissing(Refusal):
    """The first signing of a session takes user id and passphrase, later ones at least the passphrase."""

    rule, status = "ACCOUNT-3", 401
    remedy = "Give the components that the ceremony names; a session alone signs nothing."
    source = "21 CFR 11.200(a)(1)(i)"


class PassphraseWeak(Refusal):
    """The passphrase is too easily guessed."""

    rule, status = "ACCOUNT-4", 422
    remedy = "Choose at least 12 characters: words that do not belong together are good, symbols are not needed."
    source = "21 CFR 11.300(b); NIST SP 800-63B 5.1.1"


class CodeWrong(Refusal):
    """The one-time code is not one that waits for this person."""

    rule, status = "ACCOUNT-5", 403
    remedy = "Ask a registrar for a new code (CredentialOffered); each works once and runs out."
    source = "21 CFR 11.100(b), 11.300(c)"


class CredentialAged(Refusal):
    """The signing key is older than two years."""

    rule, status = "ACCOUNT-6", 403
    remedy = "Have a registrar revoke it, verify the identity anew and offer a new key; what was signed stays signed."
    source = "21 CFR 11.300(b)"


class TooManyAtOnce(Refusal):
    """Too many passphrases are being tried at this moment."""

    rule, status = "ACCOUNT-7", 503
    remedy = "Try again in a moment; nothing was recorded."
