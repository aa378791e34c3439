"""Names of the network's outputs: the enums of the public API, in the order of the outputs."""

from faceanalytics.v1 import faces_pb2

EXPRESSION_VALUES = tuple(faces_pb2.Expression.values()[1:])  # (7,) of the proto's enum
ATTRIBUTE_VALUES = tuple(faces_pb2.Attribute.values()[1:])  # (40,)
EXPRESSIONS = tuple(name.removeprefix("EXPRESSION_").lower() for name in faces_pb2.Expression.keys()[1:])  # (7,)
ATTRIBUTES = tuple(name.removeprefix("ATTRIBUTE_").lower() for name in faces_pb2.Attribute.keys()[1:])  # (40,)
