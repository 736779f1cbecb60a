from contrast_tasks.api import userapi_pb2 as _userapi_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
