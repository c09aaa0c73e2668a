"""From images, tars and parquet to dataset folders of FFCV files."""
