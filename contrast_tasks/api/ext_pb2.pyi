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
