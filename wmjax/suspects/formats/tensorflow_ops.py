"""TensorFlow's operations that compute, and do nothing else: in a list, since no rule tells them from the others.

Some that keep no state by TensorFlow's own account read files (`ReadFile`, `ImmutableConst`), write them
(`DebugIdentity`), or run whatever a text says (`DatasetFromGraph`).
"""

_WORDS = """
Const Placeholder PlaceholderWithDefault Identity IdentityN NoOp StopGradient PreventGradient EnsureShape Cast Bitcast
Assert CheckNumerics
PartitionedCall StatefulPartitionedCall If StatelessIf Case StatelessCase While StatelessWhile Switch Merge
VarHandleOp ReadVariableOp ResourceGather
EmptyTensorList TensorListReserve TensorListFromTensor TensorListGetItem TensorListSetItem TensorListPushBack
TensorListPopBack TensorListLength TensorListElementShape TensorListStack
Shape ShapeN Size Rank Reshape Squeeze ExpandDims Slice StridedSlice Pack Unpack Concat ConcatV2 Split SplitV Transpose
Tile Fill Range LinSpace Pad PadV2 MirrorPad Gather GatherV2 GatherNd ScatterNd Where Select SelectV2 OneHot ZerosLike
OnesLike BroadcastTo BroadcastArgs BroadcastGradientArgs ReverseV2 Roll InvertPermutation MatrixBandPart MatrixDiag
TensorScatterUpdate
SpaceToBatch SpaceToBatchND BatchToSpace BatchToSpaceND SpaceToDepth DepthToSpace
MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum Conv2D Conv3D Conv2DBackpropInput DepthwiseConv2dNative
Dilation2D BiasAdd BiasAddV1
Add AddV2 AddN Sub Mul MulNoNan Div RealDiv DivNoNan Xdivy Xlogy Xlog1py FloorDiv FloorMod Mod Maximum Minimum Pow
Square SquaredDifference Sqrt Rsqrt Exp Expm1 Log Log1p Neg Abs Sign Reciprocal Inv Round Rint Floor Ceil
Sin Cos Tan Tanh Asin Acos Atan Atan2 Sinh Cosh Asinh Acosh Atanh Sigmoid Erf Erfc Softmax LogSoftmax Softplus Softsign
Relu Relu6 Elu Selu LeakyRelu ClipByValue L2Loss
Sum Mean Max Min Prod All Any Cumsum Cumprod ArgMax ArgMin TopK TopKV2 SegmentSum UnsortedSegmentSum
MaxPool MaxPoolV2 AvgPool MaxPool3D AvgPool3D LRN FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
BatchNormWithGlobalNormalization
Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr LogicalNot ApproximateEqual IsNan IsInf IsFinite
ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea ScaleAndTranslate CropAndResize
ExtractImagePatches RGBToHSV HSVToRGB AdjustContrastv2 AdjustHue AdjustSaturation
FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel QuantizeV2 Dequantize
QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeAndDequantizeV4Grad
"""
COMPUTING = frozenset(_WORDS.split())
