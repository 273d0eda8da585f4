//! The weights of a tuner out of its ONNX file, for its kernel without any runtime.
//!
//! Field numbers are those of `onnx.proto3`; everything not named here is skipped unread.

use prost::Message;
use tidegate_sidecar::contract::{Contract, Encoding};
use tidegate_sidecar::gat::Gat;
use tidegate_sidecar::repository::VersionFiles;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

impl TensorProto {
    fn values(&self) -> Vec<f32> {
        let raw = self.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        self.float_data.iter().copied().chain(raw).collect()
    }
}

/// Inputs of the tuner's node before its weights: nodes, index, edges.
const GRAPH_INPUTS: usize = 3;

/// The kernel of a tuner with room for so many nodes and edges.
///
/// # Errors
/// The file is no tuner, in words.
pub fn kernel(files: &VersionFiles, room: (usize, usize)) -> Result<Gat, String> {
    let contract = Contract::parse(&files.contract).map_err(|refusal| refusal.to_string())?;
    let Ok(Encoding::Tuner(encoding)) = contract.encoding() else { return Err("it is no tuner".into()) };
    let model = ModelProto::decode(&files.model[..]).map_err(|error| error.to_string())?;
    let graph = model.graph.ok_or("it has no graph")?;
    let [node] = &graph.node[..] else { return Err("its graph is more than one node".into()) };
    let weight = |name: &String| {
        let tensor = graph.initializer.iter().find(|tensor| tensor.name == *name);
        tensor.map(TensorProto::values).ok_or(format!("it has no tensor {name}"))
    };
    let weights = node.input.iter().skip(GRAPH_INPUTS).map(weight).collect::<Result<Vec<_>, _>>()?;
    Gat::of_inputs(&weights, encoding.quantiles.len(), room).map_err(|error| error.to_string())
}
