"""What a downloaded model predicts with: these modules lie beside it as the folder `metascout_predict`.

They import the standard library and one another (relatively); numpy, Pillow and what runs a model inside functions or
in the module of that model.
"""
