// Responsibilities of one row: mixture MODEL X1 X2 ...
use std::ffi::{c_char, CStr, CString};
use std::ptr::null_mut;

#[repr(C)]
struct RawModel {
    _private: [u8; 0],
}

#[link(name = "fastvi")]
extern "C" {
    fn fastvi_open(path: *const c_char, model: *mut *mut RawModel) -> i32;
    fn fastvi_close(model: *mut RawModel);
    fn fastvi_message(code: i32) -> *const c_char;
    fn fastvi_n_features(model: *const RawModel) -> i64;
    fn fastvi_n_outputs(model: *const RawModel) -> i64;
    fn fastvi_mixture(
        model: *const RawModel, n_rows: i64, rows: *const f64, responsibilities: *mut f64,
        log_densities: *mut f64, labels: *mut i64,
    ) -> i32;
}

/// A model, closed when it is dropped. It never changes, so that threads may share it.
struct Model(*mut RawModel);

unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { fastvi_close(self.0) }
    }
}

fn checked(code: i32) -> Result<(), String> {
    if code == 0 {
        return Ok(());
    }
    Err(unsafe { CStr::from_ptr(fastvi_message(code)) }.to_string_lossy().into_owned())
}

impl Model {
    fn open(path: &str) -> Result<Model, String> {
        let name = CString::new(path).map_err(|error| error.to_string())?;
        let mut model = null_mut();
        checked(unsafe { fastvi_open(name.as_ptr(), &mut model) })?;
        Ok(Model(model))
    }

    /// Responsibilities (n_rows, n_components) of rows one after another.
    fn responsibilities(&self, rows: &[f64]) -> Result<Vec<f64>, String> {
        let (width, k) = unsafe { (fastvi_n_features(self.0), fastvi_n_outputs(self.0)) };
        if rows.len() as i64 % width != 0 {
            return Err(format!("rows are of another width than {width}"));
        }
        let n = rows.len() as i64 / width;
        let mut out = vec![0.0; (n * k) as usize];
        checked(unsafe {
            fastvi_mixture(self.0, n, rows.as_ptr(), out.as_mut_ptr(), null_mut(), null_mut())
        })?;
        Ok(out)
    }
}

fn main() -> Result<(), String> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let (path, numbers) = given.split_first().ok_or("wanted a model and a row")?;
    let row: Result<Vec<f64>, _> = numbers.iter().map(|x| x.parse::<f64>()).collect();
    let model = Model::open(path)?;
    for share in model.responsibilities(&row.map_err(|error| error.to_string())?)? {
        println!("{share:e}");
    }
    Ok(())
}
