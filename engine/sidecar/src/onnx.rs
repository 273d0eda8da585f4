//! The few fields of an ONNX file that the gate looks at before any runtime does.
//!
//! Field numbers are those of `onnx.proto3`; everything not named here is skipped unread.

use std::collections::BTreeSet;

use prost::Message;

use crate::gat::op::{DOMAIN, NAME};
use crate::refusal::Refusal;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetId>,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetId {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<Skipped>,
}

/// A message whose contents do not matter: that it is there does.
#[derive(Clone, PartialEq, Message)]
struct Skipped {}

#[derive(Clone, PartialEq, Message)]
struct FunctionProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "9")]
    opset_import: Vec<OperatorSetId>,
    #[prost(string, tag = "10")]
    domain: String,
    #[prost(message, repeated, tag = "11")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "5")]
    tensor: Option<TensorProto>,
    #[prost(message, optional, tag = "6")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphProto>,
    #[prost(message, optional, tag = "22")]
    sparse_tensor: Option<Skipped>,
    #[prost(message, repeated, tag = "23")]
    sparse_tensors: Vec<Skipped>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(string, tag = "8")]
    name: String,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

/// Oldest and newest operator sets by domain.
const OPSETS: [(&str, i64, i64); 3] = [("ai.onnx", 15, 22), ("ai.onnx.ml", 1, 5), (DOMAIN, 1, 1)];
/// Oldest and newest format of files.
const IR: (i64, i64) = (7, 11);

/// Operators of the standard domain that models may use: arithmetic, shapes, gathers, activations, recurrence.
const STANDARD: &str = "Abs Add And ArgMax ArgMin Cast CastLike Ceil Clip Concat Constant ConstantOfShape CumSum Div Elu \
    Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND Gemm Greater GreaterOrEqual HardSigmoid \
    Identity IsInf IsNaN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max Mean Min Mod Mul \
    Neg Not OneHot Or Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round \
    ScatterElements ScatterND Shape Sigmoid Sign Size Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile TopK \
    Transpose Unsqueeze Where Xor";
/// Operators of the classical domain.
const CLASSICAL: &str = "ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LinearClassifier LinearRegressor \
    Normalizer Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap";

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Operator sets, by domain.
    pub(crate) opsets: Vec<(String, i64)>,
    /// Whether it has a node with a kernel of ours.
    pub(crate) has_kernel: bool,
}

/// The standard domain has two names.
fn domain(name: &str) -> &str {
    if name.is_empty() { "ai.onnx" } else { name }
}

/// Looks through a model's file.
///
/// # Errors
/// What it holds that is not taken.
pub(crate) fn survey(bytes: &[u8]) -> Result<Survey, Refusal> {
    // ONNX Runtime has a format of its own, which nothing here can look into.
    if bytes.get(4..8) == Some(b"ORTM") {
        return Err(Refusal::NotOnnx("it is in ONNX Runtime's own format".into()));
    }
    let model = ModelProto::decode(bytes).map_err(|error| Refusal::NotOnnx(error.to_string()))?;
    if !(IR.0..=IR.1).contains(&model.ir_version) {
        let reason = format!("format version {}, expected {} to {}", model.ir_version, IR.0, IR.1);
        return Err(Refusal::NotOnnx(reason));
    }
    let graph = model.graph.as_ref().ok_or_else(|| Refusal::NotOnnx("it has no graph".into()))?;
    let mut opsets = Vec::new();
    let imports = model.opset_import.iter().chain(model.functions.iter().flat_map(|f| &f.opset_import));
    for import in imports {
        let name = domain(&import.domain);
        let known = OPSETS.iter().find(|(known, ..)| *known == name);
        let fits = known.is_some_and(|(_, oldest, newest)| (*oldest..=*newest).contains(&import.version));
        if !fits {
            let expected = match known {
                Some((_, oldest, newest)) => format!("this engine takes {oldest} to {newest}"),
                None => "this engine does not know that domain".into(),
            };
            return Err(Refusal::Opset { domain: name.into(), found: import.version, expected });
        }
        opsets.push((name.to_owned(), import.version));
    }
    let functions: BTreeSet<(&str, &str)> =
        model.functions.iter().map(|f| (domain(&f.domain), f.name.as_str())).collect();
    let mut has_kernel = false;
    check_graph(graph, &functions, &mut has_kernel)?;
    for function in &model.functions {
        check_nodes(&function.node, &functions, &mut has_kernel)?;
        check_attributes(&function.attribute, &functions, &mut has_kernel)?;
    }
    Ok(Survey { opsets, has_kernel })
}

type Functions<'a> = BTreeSet<(&'a str, &'a str)>;

fn check_graph(graph: &GraphProto, functions: &Functions<'_>, has_kernel: &mut bool) -> Result<(), Refusal> {
    check_tensors(&graph.initializer)?;
    if !graph.sparse_initializer.is_empty() {
        return Err(sparse());
    }
    check_nodes(&graph.node, functions, has_kernel)
}

fn check_tensors<'a>(tensors: impl IntoIterator<Item = &'a TensorProto>) -> Result<(), Refusal> {
    let outside = tensors.into_iter().find(|tensor| tensor.data_location != 0);
    outside.map_or(Ok(()), |tensor| Err(Refusal::ExternalData(tensor.name.clone())))
}

fn check_nodes(nodes: &[NodeProto], functions: &Functions<'_>, has_kernel: &mut bool) -> Result<(), Refusal> {
    for node in nodes {
        let (name, operator) = (domain(&node.domain), node.op_type.as_str());
        let listed = |list: &str| list.split_ascii_whitespace().any(|allowed| allowed == operator);
        let allowed = match name {
            "ai.onnx" => listed(STANDARD),
            "ai.onnx.ml" => listed(CLASSICAL),
            // Our own operator only with its body in the file: the kernel is checked against it.
            DOMAIN => operator == NAME && functions.contains(&(name, operator)),
            _ => false,
        };
        if !allowed {
            return Err(Refusal::Operator(format!("{name}::{operator}")));
        }
        *has_kernel |= name == DOMAIN;
        check_attributes(&node.attribute, functions, has_kernel)?;
    }
    Ok(())
}

fn check_attributes(
    attributes: &[AttributeProto],
    functions: &Functions<'_>,
    has_kernel: &mut bool,
) -> Result<(), Refusal> {
    for attribute in attributes {
        check_tensors(attribute.tensor.iter().chain(&attribute.tensors))?;
        if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
            return Err(sparse());
        }
        for graph in attribute.graph.iter().chain(&attribute.graphs) {
            check_graph(graph, functions, has_kernel)?;
        }
    }
    Ok(())
}

/// Sparse tensors have parts that could lie elsewhere, and no model here needs them.
fn sparse() -> Refusal {
    Refusal::NotOnnx("sparse tensors are not taken".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(node: NodeProto, opset: (&str, i64)) -> Vec<u8> {
        let opset_import = vec![OperatorSetId { domain: opset.0.into(), version: opset.1 }];
        let graph = Some(GraphProto { node: vec![node], ..GraphProto::default() });
        ModelProto { ir_version: 10, opset_import, graph, functions: Vec::new() }.encode_to_vec()
    }

    fn node(domain: &str, op_type: &str) -> NodeProto {
        NodeProto { op_type: op_type.into(), attribute: Vec::new(), domain: domain.into() }
    }

    #[test]
    fn allowed_operators_pass_and_others_are_named() {
        assert_eq!(survey(&model(node("", "Gemm"), ("", 18))).map(|s| s.has_kernel), Ok(false));
        let error = |bytes: &[u8]| survey(bytes).expect_err("refused");
        assert_eq!(error(&model(node("", "Loop"), ("", 18))), Refusal::Operator("ai.onnx::Loop".into()));
        assert_eq!(error(&model(node("com.evil", "Run"), ("", 18))), Refusal::Operator("com.evil::Run".into()));
        let bodiless = error(&model(node(DOMAIN, NAME), ("", 18)));
        assert_eq!(bodiless, Refusal::Operator("ai.tidegate::GatV2Net".into()), "no body in the file");
        assert!(matches!(error(&model(node("", "Gemm"), ("", 99))), Refusal::Opset { found: 99, .. }));
        assert!(matches!(error(&model(node("", "Gemm"), ("com.evil", 1))), Refusal::Opset { .. }));
        assert!(matches!(error(b"\xff\xff\xff"), Refusal::NotOnnx(_)));
        assert!(matches!(error(b""), Refusal::NotOnnx(_)));
        assert!(matches!(error(b"\x12\x06\x00\x00ORTM"), Refusal::NotOnnx(_)), "the runtime's own format");
    }

    #[test]
    fn what_hides_in_attributes_is_found() {
        let inner = GraphProto { node: vec![node("", "Loop")], ..GraphProto::default() };
        let attribute = AttributeProto { graph: Some(inner), ..AttributeProto::default() };
        let outer = NodeProto { attribute: vec![attribute], ..node("", "Where") };
        assert_eq!(survey(&model(outer, ("", 18))), Err(Refusal::Operator("ai.onnx::Loop".into())));
        let tensor = TensorProto { name: "weights".into(), data_location: 1 };
        let attribute = AttributeProto { tensor: Some(tensor), ..AttributeProto::default() };
        let constant = NodeProto { attribute: vec![attribute], ..node("", "Constant") };
        assert_eq!(survey(&model(constant, ("", 18))), Err(Refusal::ExternalData("weights".into())));
    }
}
