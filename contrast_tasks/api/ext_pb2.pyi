from contrast_tasks.api import userapi_pb2 as _userapi_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PackedManifest(_message.Message):
    __slots__ = ("Manifest", "PreviousTransitionHash", "Signatures", "Packs")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PREVIOUSTRANSITIONHASH_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    Manifest: bytes
    PreviousTransitionHash: bytes
    Signatures: _containers.RepeatedScalarFieldContainer[bytes]
    Packs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, Manifest: _Optional[bytes] = ..., PreviousTransitionHash: _Optional[bytes] = ..., Signatures: _Optional[_Iterable[bytes]] = ..., Packs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetPackedRequest(_message.Message):
    __slots__ = ("Known",)
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    Known: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, Known: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetPackedResponse(_message.Message):
    __slots__ = ("Manifests", "LostPolicies", "LostBefore", "RootCA", "MeshCA", "LatestTransition", "Hashes", "Packs")
    MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    LOSTPOLICIES_FIELD_NUMBER: _ClassVar[int]
    LOSTBEFORE_FIELD_NUMBER: _ClassVar[int]
    ROOTCA_FIELD_NUMBER: _ClassVar[int]
    MESHCA_FIELD_NUMBER: _ClassVar[int]
    LATESTTRANSITION_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    Manifests: _containers.RepeatedScalarFieldContainer[bytes]
    LostPolicies: _containers.RepeatedScalarFieldContainer[bytes]
    LostBefore: bytes
    RootCA: bytes
    MeshCA: bytes
    LatestTransition: _userapi_pb2.LatestTransition
    Hashes: _containers.RepeatedScalarFieldContainer[bytes]
    Packs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, Manifests: _Optional[_Iterable[bytes]] = ..., LostPolicies: _Optional[_Iterable[bytes]] = ..., LostBefore: _Optional[bytes] = ..., RootCA: _Optional[bytes] = ..., MeshCA: _Optional[bytes] = ..., LatestTransition: _Optional[_Union[_userapi_pb2.LatestTransition, _Mapping]] = ..., Hashes: _Optional[_Iterable[bytes]] = ..., Packs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetSeedSharesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetSeedSharesResponse(_message.Message):
    __slots__ = ("SeedSharesDoc",)
    SEEDSHARESDOC_FIELD_NUMBER: _ClassVar[int]
    SeedSharesDoc: _userapi_pb2.SeedShareDocument
    def __init__(self, SeedSharesDoc: _Optional[_Union[_userapi_pb2.SeedShareDocument, _Mapping]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("Version", "State", "Reason", "Generation", "TransitionHash", "RootCANotAfter", "MeshCANotAfter", "PeersServing")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONHASH_FIELD_NUMBER: _ClassVar[int]
    ROOTCANOTAFTER_FIELD_NUMBER: _ClassVar[int]
    MESHCANOTAFTER_FIELD_NUMBER: _ClassVar[int]
    PEERSSERVING_FIELD_NUMBER: _ClassVar[int]
    Version: str
    State: str
    Reason: str
    Generation: int
    TransitionHash: bytes
    RootCANotAfter: int
    MeshCANotAfter: int
    PeersServing: int
    def __init__(self, Version: _Optional[str] = ..., State: _Optional[str] = ..., Reason: _Optional[str] = ..., Generation: _Optional[int] = ..., TransitionHash: _Optional[bytes] = ..., RootCANotAfter: _Optional[int] = ..., MeshCANotAfter: _Optional[int] = ..., PeersServing: _Optional[int] = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("Content", "Signature")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    Content: bytes
    Signature: bytes
    def __init__(self, Content: _Optional[bytes] = ..., Signature: _Optional[bytes] = ...) -> None: ...

class AuditBlock(_message.Message):
    __slots__ = ("Entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    Entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    def __init__(self, Entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ...) -> None: ...

class GetAuditLogRequest(_message.Message):
    __slots__ = ("From",)
    FROM_FIELD_NUMBER: _ClassVar[int]
    From: int
    def __init__(self, From: _Optional[int] = ...) -> None: ...

class GetAuditLogResponse(_message.Message):
    __slots__ = ("Entries", "Unwritten", "TransactionKey")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    UNWRITTEN_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONKEY_FIELD_NUMBER: _ClassVar[int]
    Entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    Unwritten: _containers.RepeatedScalarFieldContainer[bytes]
    TransactionKey: bytes
    def __init__(self, Entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ..., Unwritten: _Optional[_Iterable[bytes]] = ..., TransactionKey: _Optional[bytes] = ...) -> None: ...

class WorkloadChange(_message.Message):
    __slots__ = ("Name", "OldPolicy", "NewPolicy", "OldSANs", "NewSANs", "OldWorkloadSecretID", "NewWorkloadSecretID", "OldRole", "NewRole")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OLDPOLICY_FIELD_NUMBER: _ClassVar[int]
    NEWPOLICY_FIELD_NUMBER: _ClassVar[int]
    OLDSANS_FIELD_NUMBER: _ClassVar[int]
    NEWSANS_FIELD_NUMBER: _ClassVar[int]
    OLDWORKLOADSECRETID_FIELD_NUMBER: _ClassVar[int]
    NEWWORKLOADSECRETID_FIELD_NUMBER: _ClassVar[int]
    OLDROLE_FIELD_NUMBER: _ClassVar[int]
    NEWROLE_FIELD_NUMBER: _ClassVar[int]
    Name: str
    OldPolicy: str
    NewPolicy: str
    OldSANs: _containers.RepeatedScalarFieldContainer[str]
    NewSANs: _containers.RepeatedScalarFieldContainer[str]
    OldWorkloadSecretID: str
    NewWorkloadSecretID: str
    OldRole: str
    NewRole: str
    def __init__(self, Name: _Optional[str] = ..., OldPolicy: _Optional[str] = ..., NewPolicy: _Optional[str] = ..., OldSANs: _Optional[_Iterable[str]] = ..., NewSANs: _Optional[_Iterable[str]] = ..., OldWorkloadSecretID: _Optional[str] = ..., NewWorkloadSecretID: _Optional[str] = ..., OldRole: _Optional[str] = ..., NewRole: _Optional[str] = ...) -> None: ...

class PlanManifestResponse(_message.Message):
    __slots__ = ("CurrentTransitionHash", "NextTransitionHash", "Refusal", "Unchanged", "Workloads", "ReferenceValuesChanged", "OwnersAdded", "OwnersRemoved", "SeedshareOwnersChanged", "LocksOutCaller", "Final", "RotatesMeshCA", "Restart", "LostWorkloadSecretIDs", "RefusalReason", "ApprovalsWanted", "ApprovedBy", "NotApprovedBy", "NextApprovalsWanted")
    CURRENTTRANSITIONHASH_FIELD_NUMBER: _ClassVar[int]
    NEXTTRANSITIONHASH_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    REFERENCEVALUESCHANGED_FIELD_NUMBER: _ClassVar[int]
    OWNERSADDED_FIELD_NUMBER: _ClassVar[int]
    OWNERSREMOVED_FIELD_NUMBER: _ClassVar[int]
    SEEDSHAREOWNERSCHANGED_FIELD_NUMBER: _ClassVar[int]
    LOCKSOUTCALLER_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    ROTATESMESHCA_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    LOSTWORKLOADSECRETIDS_FIELD_NUMBER: _ClassVar[int]
    REFUSALREASON_FIELD_NUMBER: _ClassVar[int]
    APPROVALSWANTED_FIELD_NUMBER: _ClassVar[int]
    APPROVEDBY_FIELD_NUMBER: _ClassVar[int]
    NOTAPPROVEDBY_FIELD_NUMBER: _ClassVar[int]
    NEXTAPPROVALSWANTED_FIELD_NUMBER: _ClassVar[int]
    CurrentTransitionHash: bytes
    NextTransitionHash: bytes
    Refusal: str
    Unchanged: bool
    Workloads: _containers.RepeatedCompositeFieldContainer[WorkloadChange]
    ReferenceValuesChanged: bool
    OwnersAdded: _containers.RepeatedScalarFieldContainer[str]
    OwnersRemoved: _containers.RepeatedScalarFieldContainer[str]
    SeedshareOwnersChanged: bool
    LocksOutCaller: bool
    Final: bool
    RotatesMeshCA: bool
    Restart: _containers.RepeatedScalarFieldContainer[str]
    LostWorkloadSecretIDs: _containers.RepeatedScalarFieldContainer[str]
    RefusalReason: str
    ApprovalsWanted: int
    ApprovedBy: _containers.RepeatedScalarFieldContainer[str]
    NotApprovedBy: _containers.RepeatedScalarFieldContainer[str]
    NextApprovalsWanted: int
    def __init__(self, CurrentTransitionHash: _Optional[bytes] = ..., NextTransitionHash: _Optional[bytes] = ..., Refusal: _Optional[str] = ..., Unchanged: _Optional[bool] = ..., Workloads: _Optional[_Iterable[_Union[WorkloadChange, _Mapping]]] = ..., ReferenceValuesChanged: _Optional[bool] = ..., OwnersAdded: _Optional[_Iterable[str]] = ..., OwnersRemoved: _Optional[_Iterable[str]] = ..., SeedshareOwnersChanged: _Optional[bool] = ..., LocksOutCaller: _Optional[bool] = ..., Final: _Optional[bool] = ..., RotatesMeshCA: _Optional[bool] = ..., Restart: _Optional[_Iterable[str]] = ..., LostWorkloadSecretIDs: _Optional[_Iterable[str]] = ..., RefusalReason: _Optional[str] = ..., ApprovalsWanted: _Optional[int] = ..., ApprovedBy: _Optional[_Iterable[str]] = ..., NotApprovedBy: _Optional[_Iterable[str]] = ..., NextApprovalsWanted: _Optional[int] = ...) -> None: ...
