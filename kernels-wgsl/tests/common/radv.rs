//! Mesa's RADV on a device that is not there.

use std::ffi::CStr;
use std::path::PathBuf;

use ash::{khr, vk};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use transformer_ls_kernels_wgsl::shader::Shader;

/// RADV's entry among the drivers that Vulkan's loader knows.
pub fn driver() -> Option<PathBuf> {
    // Newer ones are named without the processor.
    let names = [
        format!("radeon_icd.{}.json", std::env::consts::ARCH),
        "radeon_icd.json".to_string(),
    ];
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let paths = |folder: &str| {
        names
            .each_ref()
            .map(|name| PathBuf::from(folder).join(name))
    };
    let mut all = folders.into_iter().flat_map(paths);
    all.find(|path| path.exists())
}

/// The shader as wgpu hands it to Vulkan's drivers: without checks of bounds or of loops.
pub fn spirv(shader: &Shader) -> Vec<u32> {
    let text = shader.render();
    let module = naga::front::wgsl::parse_str(&text).expect("valid WGSL");
    let capabilities = Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .expect("a valid module");
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        use_storage_input_output_16: false,
        ..spv::Options::default()
    };
    spv::write_vec(&module, &info, &options, None).expect("SPIR-V")
}

/// What came of a shader.
#[derive(Debug, Default)]
pub struct Made {
    pub registers: u64,
    pub spilled: u64,
    pub scratch: u64,
    pub waves: u64,
    pub instructions: u64,
}

pub struct Device {
    // Keeps the library loaded.
    _entry: ash::Entry,
    device: ash::Device,
    /// Whether it has cooperative matrices.
    pub cooperates: bool,
    statistics: khr::pipeline_executable_properties::Device,
}

impl Device {
    /// Opens the only device that the loader was told of.
    pub fn open() -> Self {
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let instance = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: the structures outlive the calls, and handles are used while what made them lives.
        unsafe {
            let entry = ash::Entry::load().expect("Vulkan's loader");
            let instance = entry
                .create_instance(&instance, None)
                .expect("an instance of Vulkan");
            let devices = instance.enumerate_physical_devices().expect("devices");
            let [physical] = devices[..] else {
                panic!("one device is expected: {devices:?}");
            };
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let offered = instance
                .enumerate_device_extension_properties(physical)
                .expect("extensions");
            let cooperates = offered
                .iter()
                .any(|one| one.extension_name_as_c_str() == Ok(khr::cooperative_matrix::NAME));
            let mut extensions = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut matrices =
                vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
            let mut executables =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
                    .pipeline_executable_info(true);
            let mut memory = vk::PhysicalDeviceVulkan12Features::default()
                .vulkan_memory_model(true)
                .shader_float16(true);
            let mut storage = vk::PhysicalDeviceVulkan11Features::default()
                .storage_buffer16_bit_access(true)
                .uniform_and_storage_buffer16_bit_access(true);
            let mut features = vk::PhysicalDeviceFeatures2::default()
                .features(vk::PhysicalDeviceFeatures::default().shader_int16(true))
                .push_next(&mut storage)
                .push_next(&mut memory)
                .push_next(&mut executables);
            if cooperates {
                extensions.push(khr::cooperative_matrix::NAME.as_ptr());
                features = features.push_next(&mut matrices);
            }
            let device = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .push_next(&mut features);
            let device = instance
                .create_device(physical, &device, None)
                .expect("a device of Vulkan");
            let statistics = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Self {
                _entry: entry,
                device,
                cooperates,
                statistics,
            }
        }
    }

    /// Compiles a shader whose first bindings are `buffers` storage buffers, and the next the info
    /// block.
    pub fn compile(&self, words: &[u32], buffers: usize) -> Made {
        let bindings: Vec<_> = (0..=buffers)
            .map(|binding| {
                let kind = match binding == buffers {
                    true => vk::DescriptorType::UNIFORM_BUFFER,
                    false => vk::DescriptorType::STORAGE_BUFFER,
                };
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding as u32)
                    .descriptor_type(kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        let module = vk::ShaderModuleCreateInfo::default().code(words);
        // SAFETY: as in `open`; the words are SPIR-V that naga has made.
        unsafe {
            let device = &self.device;
            let set = device
                .create_descriptor_set_layout(&set, None)
                .expect("bindings");
            let sets = [set];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device
                .create_pipeline_layout(&layout, None)
                .expect("a layout");
            let module = device
                .create_shader_module(&module, None)
                .expect("a module");
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let pipeline = vk::ComputePipelineCreateInfo::default()
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR)
                .stage(stage)
                .layout(layout);
            let pipelines = device
                .create_compute_pipelines(vk::PipelineCache::null(), &[pipeline], None)
                .expect("a pipeline");
            let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipelines[0]);
            let statistics = self
                .statistics
                .get_pipeline_executable_statistics(&executable)
                .expect("statistics");
            let mut made = Made::default();
            for statistic in statistics {
                let name = CStr::from_ptr(statistic.name.as_ptr()).to_string_lossy();
                let to = match name.as_ref() {
                    "VGPRs" => &mut made.registers,
                    "Spilled VGPRs" => &mut made.spilled,
                    "Scratch size" => &mut made.scratch,
                    "Subgroups per SIMD" => &mut made.waves,
                    "Instructions" => &mut made.instructions,
                    _ => continue,
                };
                *to = statistic.value.u64;
            }
            device.destroy_pipeline(pipelines[0], None);
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set, None);
            made
        }
    }
}
