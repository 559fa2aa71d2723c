"""Who runs which study: the registry record as it stands, without telephone numbers and e-mail addresses.

Fields follow the sections of ClinicalTrials.gov; what the record leaves out is null, never invented.
"""

from __future__ import annotations

from typing import Literal

from ledger.protocol.model.base import Count, Date, Entries, Entry, Id, Items, Name, Part, Text, Zone

DateKind = Literal["actual", "estimated"]


class RecordFile(Part):
    """The file that the protocol was taken from."""

    name: Name
    sha256: Name
    bytes: Count


class DatedMilestone(Part):
    """A date of the study, planned or past; `read_as` where an interpretation gives another."""

    date: Date
    kind: DateKind
    read_as: Date | None = None


class Dates(Part):
    """Dates of the record and of the study."""

    first_posted: Date | None = None
    last_update_posted: Date | None = None
    last_verified: Date | None = None
    start: DatedMilestone | None = None
    primary_completion: DatedMilestone | None = None
    completion: DatedMilestone | None = None


class Person(Part):
    """A person named by the record, in the record's words."""

    name: Name
    title: Name | None = None
    affiliation: Name | None = None


class Contact(Part):
    """Whom the record names as contact; how to reach them stays in the registry."""

    name: Name
    role: Name


class Location(Entry):
    """A place where the study runs."""

    facility: Name | None = None
    city: Name
    state: Name | None = None
    country: Name
    postal_code: Name | None = None
    status: Name | None = None
    time_zone: Zone | None = None
    investigator: Name | None = None
    contacts: Items[Contact] = ()


class Design(Part):
    """How the record classifies the study; `read_as` where an interpretation says what it really is."""

    study_type: Name
    phase: Name | None = None
    allocation: Name | None = None
    intervention_model: Name | None = None
    masking: Name | None = None
    primary_purpose: Name | None = None
    read_as: Text | None = None


class Admission(Part):
    """The record's summary of who may take part; the criteria decide, not this."""

    minimum_age: Name | None = None
    maximum_age: Name | None = None
    sex: Name | None = None
    healthy_volunteers: bool | None = None


class Mesh(Part):
    """Terms that the registry derived; they define nothing here."""

    conditions: Items[Name] = ()
    ancestors: Items[Name] = ()
    listed: Items[Name] = ()


class Identification(Part):
    """The study as registered."""

    brief_title: Name
    official_title: Name | None = None
    nct: Name | None = None
    org_id: Name | None = None
    other_ids: Items[Name] = ()
    sponsor: Name | None = None
    collaborators: Items[Name] = ()
    responsible_party: Person | None = None
    principal_investigator: Person | None = None
    status: Name | None = None
    design: Design | None = None
    dates: Dates | None = None
    admission: Admission | None = None
    conditions: Items[Name] = ()
    condition_read_as: Name | None = None
    keywords: Items[Name] = ()
    mesh: Mesh | None = None
    fda_regulated_drug: bool | None = None
    fda_regulated_device: bool | None = None
    brief_summary: Text | None = None
    detailed_description: Text | None = None
    contacts: Items[Contact] = ()
    locations: Entries[Location] = {}
    record: RecordFile | None = None


class PlannedEnrolment(Part):
    """How many subjects are planned."""

    count: Count
    kind: DateKind


class Intervention(Entry):
    """What subjects receive, as the record says it."""

    type: Name
    name: Name
    description: Text | None = None


class ArmStep(Part):
    """One element of an arm's course (SDTM TA)."""

    element: Id
    epoch: Name | None = None
    branch: Text | None = None
    transition: Text | None = None


class Arm(Entry):
    """A path through the study."""

    label: Name
    code: Name | None = None
    type: Name | None = None
    description: Text | None = None
    interventions: Items[Id] = ()
    course: Items[ArmStep] = ()


class Population(Entry):
    """A kind of people in the study; `enrols`: they take a seat and the criteria decide about them."""

    label: Name
    enrols: bool
    treated: bool
    planned: Count | None = None
    note: Text | None = None


class Element(Entry):
    """A stretch of a subject's course (SDTM TE)."""

    label: Name
    start_rule: Text | None = None
    end_rule: Text | None = None
    duration: Name | None = None


class Visit(Entry):
    """A planned visit (SDTM TV)."""

    label: Name
    number: Name | None = None
    day: int | None = None
    arm: Id | None = None
    start_rule: Text | None = None
    end_rule: Text | None = None


class SummaryParameter(Entry):
    """A parameter of the trial summary (SDTM TS)."""

    label: Name
    values: Items[Text] = ()
    null_flavour: Name | None = None


class SharingPlan(Part):
    """What individual participant data are shared, when, with whom."""

    plan: Literal["yes", "no", "undecided"]
    description: Text | None = None
    documents: Items[Name] = ()
    time_frame: Text | None = None
    access: Text | None = None
    requester: Text | None = None
    dataset: Text | None = None
    opens_after: Name | None = None
    closes_after: Name | None = None
