# Training and scoring on an NVIDIA GPU:
#
#     docker build -t amgan-fast .
#     docker run --rm --gpus all -v "$PWD/runs:/data/runs" amgan-fast train
#
# The kernels are built for every GPU that torch was built for; --build-arg ARCHITECTURES=9.0 is for one, and quicker.
ARG CUDA=13.0.2
FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ python3-venv && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/amgan
ENV PATH=/opt/amgan/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Of the toolkit's major version: torch's wheels bring along the libraries that run, not the compiler.
ARG TORCH="torch==2.14.1 torchvision==0.29.1"
RUN pip install ${TORCH}
RUN pip install scikit-build-core cmake ninja
COPY . /source
ARG ARCHITECTURES=""
RUN AMGAN_CUDA=1 TORCH_CUDA_ARCH_LIST="${ARCHITECTURES}" pip install --no-build-isolation "/source[train]"

FROM ubuntu:24.04
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/amgan /opt/amgan
ENV PATH=/opt/amgan/bin:$PATH
WORKDIR /data
ENTRYPOINT ["amgan-fast"]
