//! A project: the folder that holds `flows/`, `connections/` and the rest.

use std::path::{Path, PathBuf};

/// The project of a flow file: the nearest folder above it that holds `crossdock.yaml` or whose `flows/` the file lies
/// in; else the folder of the file itself.
pub fn folder_of(flow_file: &Path) -> PathBuf {
    let absolute = std::path::absolute(flow_file).unwrap_or_else(|_| flow_file.to_path_buf());
    let found = absolute.ancestors().skip(1).find(|folder| {
        folder.join("crossdock.yaml").is_file() || absolute.starts_with(folder.join("flows"))
    });
    found
        .or_else(|| absolute.parent())
        .unwrap_or(&absolute)
        .to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_project_wins() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::create_dir_all(root.join("shop/flows/daily")).unwrap();
        std::fs::create_dir_all(root.join("plain/deep")).unwrap();
        std::fs::write(root.join("plain/crossdock.yaml"), "").unwrap();
        assert_eq!(
            folder_of(&root.join("shop/flows/a.yaml")),
            root.join("shop")
        );
        assert_eq!(
            folder_of(&root.join("shop/flows/daily/a.yaml")),
            root.join("shop")
        );
        assert_eq!(
            folder_of(&root.join("plain/deep/a.yaml")),
            root.join("plain")
        );
        assert_eq!(folder_of(&root.join("shop/a.yaml")), root.join("shop"));
        assert_eq!(
            folder_of(&root.join("elsewhere/a.yaml")),
            root.join("elsewhere")
        );
    }
}
