//! The kernel as an operator of ONNX Runtime: `ai.tidegate::GatV2Net`.
//!
//! A model's file has the node with all weights as constants, and a function body that any runtime can run. Where the
//! operator is registered the runtime calls this kernel instead of the body.

use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::{DynTensorValueType, TensorElementType};

use super::{Gat, Graph, LAYER_TENSORS};

/// Domain of our own operators.
pub(crate) const DOMAIN: &str = "ai.tidegate";
/// Name of the operator.
pub(crate) const NAME: &str = "GatV2Net";

/// Graph inputs before the weights.
const GRAPH_INPUTS: usize = 3;
/// Layers.
const LAYERS: usize = 2;
/// Weight inputs: the layers' and the head's two.
const WEIGHTS: usize = LAYERS * LAYER_TENSORS + 2;
/// Most nodes and edges of a graph.
pub(crate) const CAPACITY: (usize, usize) = (1_024, 16_384);

/// The operator's domain with its one operator, for a session.
pub(crate) fn domain() -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?.add(GatV2Net)
}

struct GatV2Net;

impl Operator for GatV2Net {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        use TensorElementType::{Float32, Int64};
        let weights = std::iter::repeat_n(Float32, WEIGHTS);
        [Float32, Int64, Float32].into_iter().chain(weights).map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let weight = |index: usize| -> ort::Result<Vec<f32>> {
            let tensor = context.constant_input::<DynTensorValueType>(GRAPH_INPUTS + index)?;
            Ok(tensor.try_extract_tensor::<f32>()?.1.to_vec())
        };
        let weights = (0..WEIGHTS).map(weight).collect::<ort::Result<Vec<_>>>()?;
        let quantiles = context.get::<i64>("quantiles").and_then(|q| usize::try_from(q).ok());
        let quantiles = quantiles.ok_or_else(|| ort::Error::new("attribute quantiles is missing"))?;
        let mut gat =
            Gat::of_inputs(&weights, quantiles, CAPACITY).map_err(|error| ort::Error::new(error.to_string()))?;
        Ok(Box::new(move |context: &ComputeContext| compute(&mut gat, context)))
    }
}

fn compute(gat: &mut Gat, context: &ComputeContext) -> ort::Result<()> {
    let missing = || ort::Error::new("an input is missing");
    let nodes = context.input(0)?.ok_or_else(missing)?;
    let index = context.input(1)?.ok_or_else(missing)?;
    let edges = context.input(2)?.ok_or_else(missing)?;
    let (shape, nodes) = nodes.try_extract_tensor::<f32>()?;
    let (_, index) = index.try_extract_tensor::<i64>()?;
    let (_, edges) = edges.try_extract_tensor::<f32>()?;
    let (sources, targets) = index.split_at(index.len() / 2);
    let count = shape.first().copied().unwrap_or(0);
    let mut output = context.output(0, [count, gat.outputs() as i64])?.ok_or_else(missing)?;
    let (_, out) = output.try_extract_tensor_mut::<f32>()?;
    gat.run(&Graph { nodes, sources, targets, edges }, out).map_err(|error| ort::Error::new(error.to_string()))
}
