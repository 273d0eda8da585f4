//! An ONNX Runtime session with tensors that are made once.
//!
//! One session a thread, one thread in the session, nothing that spins: a run is a call on the caller's core. Inputs
//! are checked before every run, because runtimes answer NaN and wrong indices with plausible numbers.

use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{OutputSelector, RunOptions, Session};
use ort::value::{DynTensor, Tensor};

use crate::contract::{Contract, Dimension, Element, GoldenTensor, Port};
use crate::gat::op;
use crate::refusal::Refusal;

/// Where nodes with a kernel of ours are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// In the function body that the file carries, by ONNX Runtime's own operators.
    Body,
    /// In the kernel.
    Kernel,
}

impl On {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Body => "function body",
            Self::Kernel => "kernel",
        }
    }
}

/// Who opens a session with operators of ours: ONNX Runtime looks for their domain in a table of the process and adds
/// it where it is not there, in two steps. Of two sessions opened at once the second is refused.
static DOMAINS: Mutex<()> = Mutex::new(());

/// Opens a session on a model's bytes.
pub(crate) fn open(environment: &Environment, bytes: &[u8], on: On) -> Result<Session, Refusal> {
    let load = |error: ort::Error| Refusal::Load(error.to_string());
    let step = |error: ort::Error<_>| Refusal::Load(error.to_string());
    let mut builder = Session::builder(environment)
        .map_err(load)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(step)?
        .with_intra_threads(1)
        .map_err(step)?
        .with_inter_threads(1)
        .map_err(step)?
        .with_intra_op_spinning(false)
        .map_err(step)?
        .with_inter_op_spinning(false)
        .map_err(step)?
        // What was surveyed is what is parsed.
        .with_config_entry("session.load_model_format", "ONNX")
        .map_err(step)?;
    if on != On::Kernel {
        return builder.commit_from_memory(bytes).map_err(load);
    }
    let _alone = DOMAINS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut builder = builder.with_operators(op::domain().map_err(load)?).map_err(step)?;
    builder.commit_from_memory(bytes).map_err(load)
}

/// Whether a session has the inputs and outputs of its contract.
pub(crate) fn check_ports(session: &Session, contract: &Contract) -> Result<(), Refusal> {
    let sides = [("input", session.inputs(), &contract.inputs), ("output", session.outputs(), &contract.outputs)];
    for (side, found, expected) in sides {
        if found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            return Err(Refusal::Shape(format!("{found} {side}s, the contract says {expected}")));
        }
        for (outlet, port) in found.iter().zip(expected) {
            let element = match outlet.dtype().tensor_type() {
                Some(ort::value::TensorElementType::Float32) => Some(Element::Float32),
                Some(ort::value::TensorElementType::Int64) => Some(Element::Int64),
                _ => None,
            };
            if outlet.name() != port.name || element != Some(port.element) {
                let (name, kind) = (outlet.name(), outlet.dtype());
                let text = format!("{side} {name} {kind}, the contract says {} {:?}", port.name, port.element);
                return Err(Refusal::Shape(text));
            }
            let shape: &[i64] = outlet.dtype().tensor_shape().map_or(&[], |shape| shape);
            // A name may stand for any number, and a number of the file must be the contract's.
            let fits = shape.len() == port.shape.len()
                && shape.iter().zip(&port.shape).all(|(found, expected)| match expected {
                    Dimension::Fixed(expected) => found == expected || *found < 0 && side == "output",
                    Dimension::Named(_) => *found < 0,
                });
            if !fits {
                let text = format!("{side} {} is {shape:?}, the contract says {}", port.name, dimensions(port));
                return Err(Refusal::Shape(text));
            }
        }
    }
    Ok(())
}

fn dimensions(port: &Port) -> String {
    let name = |dimension: &Dimension| match dimension {
        Dimension::Fixed(number) => number.to_string(),
        Dimension::Named(name) => name.clone(),
    };
    format!("[{}]", port.shape.iter().map(name).collect::<Vec<_>>().join(", "))
}

/// An input tensor that is written in place before every run.
#[derive(Debug)]
enum Input {
    Float(Tensor<f32>),
    Int(Tensor<i64>),
}

/// An output as the contract describes it.
#[derive(Clone, Debug)]
struct Output {
    name: String,
    range: [f64; 2],
    values: Vec<f32>,
}

/// A session with tensors for inputs of certain shapes.
pub(crate) struct Runner {
    session: Session,
    inputs: Vec<(String, Input)>,
    outputs: Vec<Output>,
    options: RunOptions<ort::session::HasSelectedOutputs>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (inputs, outputs) = (&self.inputs, &self.outputs);
        f.debug_struct("Runner").field("inputs", inputs).field("outputs", outputs).finish_non_exhaustive()
    }
}

impl Runner {
    /// Tensors for inputs and outputs of these shapes, in the contract's order; every output is `float32`.
    pub(crate) fn new(
        session: Session,
        contract: &Contract,
        inputs: &[Vec<i64>],
        outputs: &[Vec<i64>],
    ) -> Result<Self, Refusal> {
        let memory = |error: ort::Error| Refusal::Load(error.to_string());
        let allocator = Allocator::default();
        let mut tensors = Vec::with_capacity(inputs.len());
        for (port, shape) in contract.inputs.iter().zip(inputs) {
            let tensor = match port.element {
                Element::Float32 => Input::Float(Tensor::new(&allocator, shape.clone()).map_err(memory)?),
                Element::Int64 => Input::Int(Tensor::new(&allocator, shape.clone()).map_err(memory)?),
            };
            tensors.push((port.name.clone(), tensor));
        }
        let (mut selector, mut results) = (OutputSelector::default(), Vec::with_capacity(outputs.len()));
        for (port, shape) in contract.outputs.iter().zip(outputs) {
            let tensor: DynTensor = Tensor::<f32>::new(&allocator, shape.clone()).map_err(memory)?.upcast();
            selector = selector.preallocate(&port.name, tensor);
            let count = shape.iter().product::<i64>().max(0) as usize;
            let range = port.range.unwrap_or([f64::MIN, f64::MAX]);
            results.push(Output { name: port.name.clone(), range, values: vec![0.0; count] });
        }
        let options = RunOptions::new().map_err(memory)?.with_outputs(selector);
        Ok(Self { session, inputs: tensors, outputs: results, options })
    }

    /// The session, without its tensors.
    pub(crate) fn into_session(self) -> Session {
        self.session
    }

    /// The elements of a floating-point input, to be written before a run; none for an input of whole numbers.
    pub(crate) fn floats(&mut self, input: usize) -> &mut [f32] {
        match self.inputs.get_mut(input) {
            Some((_, Input::Float(tensor))) => tensor.extract_tensor_mut().1,
            _ => &mut [],
        }
    }

    /// The elements of an input of whole numbers, to be written before a run; none for a floating-point input.
    pub(crate) fn integers(&mut self, input: usize) -> &mut [i64] {
        match self.inputs.get_mut(input) {
            Some((_, Input::Int(tensor))) => tensor.extract_tensor_mut().1,
            _ => &mut [],
        }
    }

    /// The elements of an output after a run.
    pub(crate) fn output(&self, output: usize) -> &[f32] {
        self.outputs.get(output).map_or(&[], |output| &output.values)
    }

    /// Runs the model on what the inputs hold.
    ///
    /// # Errors
    /// An input or an output that is not finite or outside its range, or the runtime's refusal. Outputs
    /// are not to be used then.
    pub(crate) fn run(&mut self) -> Result<(), Refusal> {
        for (name, input) in &self.inputs {
            if let Input::Float(tensor) = input
                && !all_finite(tensor.extract_tensor().1)
            {
                return Err(Refusal::InputNotFinite(name.clone()));
            }
        }
        let fault = |error: ort::Error| Refusal::Run(error.to_string());
        let value = |index: usize| match &self.inputs[index].1 {
            Input::Float(tensor) => ort::session::SessionInputValue::from(tensor),
            Input::Int(tensor) => ort::session::SessionInputValue::from(tensor),
        };
        // Arrays of the lengths that occur, so that nothing is allocated for them.
        let results = match self.inputs.len() {
            1 => self.session.run_with_options([value(0)], &self.options),
            3 => self.session.run_with_options([value(0), value(1), value(2)], &self.options),
            count => {
                let values: Vec<_> = (0..count).map(value).collect();
                self.session.run_with_options(&values[..], &self.options)
            }
        }
        .map_err(fault)?;
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let (_, values) = results[index].try_extract_tensor::<f32>().map_err(fault)?;
            if values.len() != output.values.len() {
                return Err(Refusal::Run(format!("output {} has {} values", output.name, values.len())));
            }
            check_values(values, &output.name, output.range)?;
            output.values.copy_from_slice(values);
        }
        Ok(())
    }
}

/// Whether every value is finite. By words and without a branch, so that any CPU's vector instructions do it: every
/// input and output of every run is looked at.
fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = f32::INFINITY.to_bits();
    values.iter().fold(0, |bad, value| bad | u32::from(value.to_bits() & EXPONENT == EXPONENT)) == 0
}

fn check_values(values: &[f32], name: &str, [lowest, highest]: [f64; 2]) -> Result<(), Refusal> {
    if !all_finite(values) {
        return Err(Refusal::NotFinite(name.to_owned()));
    }
    let is_outside = |value: f64| !(lowest..=highest).contains(&value);
    // Again without a branch; which one it was matters only when there is one.
    if values.iter().fold(0, |bad, value| bad | u32::from(is_outside(f64::from(*value)))) == 0 {
        return Ok(());
    }
    let outside = values.iter().map(|value| f64::from(*value)).find(|value| is_outside(*value));
    match outside {
        Some(value) => Err(Refusal::OutOfRange { output: name.to_owned(), value, lowest, highest }),
        None => Ok(()),
    }
}

/// Runs a session once on inputs of any shape; gives every output's elements.
pub(crate) fn run_once(
    session: &mut Session,
    contract: &Contract,
    inputs: &[GoldenTensor],
) -> Result<Vec<Vec<f32>>, Refusal> {
    let fault = |error: ort::Error| Refusal::Run(error.to_string());
    let mut tensors = Vec::with_capacity(inputs.len());
    for (port, input) in contract.inputs.iter().zip(inputs) {
        if !input.data.iter().all(|value| value.is_finite()) {
            return Err(Refusal::InputNotFinite(port.name.clone()));
        }
        let shape = input.shape.clone();
        let tensor: DynTensor = match port.element {
            Element::Float32 => {
                let data: Vec<f32> = input.data.iter().map(|value| *value as f32).collect();
                Tensor::from_array((shape, data)).map_err(fault)?.upcast()
            }
            Element::Int64 => {
                let data: Vec<i64> = input.data.iter().map(|value| *value as i64).collect();
                Tensor::from_array((shape, data)).map_err(fault)?.upcast()
            }
        };
        tensors.push((port.name.clone(), tensor));
    }
    let results = session.run(tensors).map_err(fault)?;
    let mut outputs = Vec::with_capacity(contract.outputs.len());
    for port in &contract.outputs {
        let value = results.get(&port.name).ok_or_else(|| Refusal::Shape(format!("no output {}", port.name)))?;
        let (_, values) = value.try_extract_tensor::<f32>().map_err(fault)?;
        check_values(values, &port.name, port.range.unwrap_or([f64::MIN, f64::MAX]))?;
        outputs.push(values.to_vec());
    }
    Ok(outputs)
}
