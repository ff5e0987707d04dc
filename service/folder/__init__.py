"""A folder of models that the server serves, in the layout of Triton's model repositories.

    DIR/net/config.pbtxt       optional
    DIR/net/1/model.onnx       a version
    DIR/net/2/model.onnx
    DIR/other.onnx             a model without versions and config

Each version becomes an engine of the store, as an upload would, and a version of the model's name. Nothing is
ever written into the folder.
"""
