"""Protocol files of the studies that are shipped, one YAML file each."""
